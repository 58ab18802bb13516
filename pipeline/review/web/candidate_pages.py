"""The page of candidates: for leads and policy editors what is known of an experiment, its coverage before every rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.responses import Response

from sluicegate.pipeline.review.candidates import ExperimentFigures, experiment_figures
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.rendering import page
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions
from sluicegate.pipeline.shadow.summary import FORMAT, covered, engine_s_per_1000

_ROWS_MOST = 50


@dataclass(frozen=True, slots=True)
class StratumRow:
    """One stratum of an experiment, or all of its posts."""

    dimension: str
    """Such as ``language``; empty for all posts."""
    name: str
    coverage: float
    contents: int
    posts: int
    """Of evidence."""
    milder: int
    low: float
    high: float
    state: str
    """``shown``, ``unjudged``, or ``open``."""


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """What somebody may see of an experiment."""

    figures: ExperimentFigures
    summary: Mapping[str, Any] | None
    """Its summary for those who may see all tenants; else, and where none has come or none that is known here, None."""
    coverage: float | None
    costs: tuple[tuple[str, float], ...]
    """Engine seconds for 1,000 posts, by side, where they are known."""
    strata: tuple[StratumRow, ...]


def view_of(figures: ExperimentFigures, tenants: tuple[str, ...]) -> ExperimentView:
    """What somebody may see. Pure: whoever may see some tenants sees the strata of these, and no sum over others.

    Args:
        figures: What the desk knows.
        tenants: Those that a person may see; none are all.
    """
    document = figures.document
    if document is None or document.get("format") != FORMAT:
        return ExperimentView(figures, None, None, (), ())
    rows = _strata(document, tenants)
    if tenants:
        return ExperimentView(figures, None, None, (), rows)
    costs = {side: engine_s_per_1000(document["cost"][side]) for side in ("incumbent", "candidate")}
    known = tuple((side, value) for side, value in costs.items() if value is not None)
    return ExperimentView(figures, document, covered(dict(document)), known, rows)


def _strata(document: Mapping[str, Any], tenants: tuple[str, ...]) -> tuple[StratumRow, ...]:
    found = document["conclusion"]
    states = dict.fromkeys(found["shown"], "shown") | dict.fromkeys(found["unjudged"], "unjudged")
    rows = [] if tenants else [_row("", "", document["tally"], "")]
    for dimension in ("language", "kind", "tenant"):
        strata = document["tally"]["strata"][dimension].items()
        mine = [
            (name, one) for name, one in strata if not tenants or (dimension == "tenant" and name in tenants)
        ]
        ordered = sorted(mine, key=lambda one: (-one[1]["contents"], one[0]))[:_ROWS_MOST]
        rows += [
            _row(dimension, name, one, states.get(f"{dimension} {name}", "open")) for name, one in ordered
        ]
    return tuple(rows)


def _row(dimension: str, name: str, counted: Mapping[str, Any], state: str) -> StratumRow:
    low, high = counted["milder_share"]
    return StratumRow(
        dimension,
        name,
        counted["coverage"],
        counted["contents"],
        counted["evidence_posts"],
        counted["milder"],
        low,
        high,
        state,
    )


def add_candidate_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add the page of candidates.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Asking = Annotated[ReviewSession, Depends(sessions.asking(Right.FIGURES))]  # noqa: N806 - a type

    @app.get("/candidates")
    def candidates(session: Asking) -> Response:
        tenants = session.reviewer.tenants
        with desk.store.reading() as connection:
            found = experiment_figures(connection, tenants)
        values = {"session": session, "experiments": [view_of(one, tenants) for one in found]}
        return page("candidates.html", session.language, values)
