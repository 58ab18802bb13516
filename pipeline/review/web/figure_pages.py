"""The pages of figures: for leads what waits and what people decide, and where people overturn the model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.responses import Response

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.figures import CountedShare, QueueSize
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.rendering import page
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions

_ROWS_MOST = 50
_REVIEWED = "review"
"""The cause of cases that the machine left to people. Audits, floods and failures are of another kind."""


@dataclass(frozen=True, slots=True)
class SharePlot:
    """A table of shares, with a bar in each row."""

    name: str
    """Of the message that stands above it."""
    rows: tuple[tuple[str, CountedShare], ...]


def share_plot(name: str, shares: Mapping[str, CountedShare]) -> SharePlot:
    """The plot of some shares: of the first rows, where there are many."""
    return SharePlot(name, tuple(shares.items())[:_ROWS_MOST])


def add_figure_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add the pages of figures.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Asking = Annotated[ReviewSession, Depends(sessions.asking(Right.FIGURES))]  # noqa: N806 - a type

    @app.get("/figures")
    def figures(session: Asking) -> Response:
        tenants = session.reviewer.tenants
        decided = desk.figures.decided().of(tenants)
        hours = [(datetime.fromtimestamp(begins, UTC), count) for begins, count in decided.per_hour()]
        values = {
            "session": session,
            "queues": _queues(desk, tenants),
            "now": time.time(),
            "hours": hours,
            "busiest": max([1, *(count for _, count in hours)]),
            "sight": {"blind": decided.overturned(blind=True), "shown": decided.overturned(blind=False)},
            "agreement": decided.agreement(),
            "plots": [
                share_plot("agreement_by_reviewer", decided.agreement_by("reviewer")),
                share_plot("agreement_by_tenant", decided.agreement_by("tenant")),
                share_plot("agreement_by_language", decided.agreement_by("language")),
                share_plot("agreement_by_category", decided.agreement_by("category")),
                share_plot("golden_by_reviewer", decided.golden_by_reviewer()),
            ],
            "exposed": list(decided.exposed().items())[:_ROWS_MOST],
            "cap": desk.settings.exposure_cap,
        }
        return page("figures.html", session.language, values)

    @app.get("/model")
    def model(session: Asking) -> Response:
        decided = desk.figures.decided().of(session.reviewer.tenants)
        values = {
            "session": session,
            "overturned": decided.overturned(cause=_REVIEWED),
            "sight": {
                "blind": decided.overturned(blind=True, cause=_REVIEWED),
                "shown": decided.overturned(blind=False, cause=_REVIEWED),
            },
            "plots": [
                share_plot("overturned_by_category", decided.overturned_by("category", cause=_REVIEWED)),
                share_plot("overturned_by_language", decided.overturned_by("language", cause=_REVIEWED)),
                share_plot("overturned_by_rule", decided.overturned_by("rule", cause=_REVIEWED)),
                share_plot("overturned_by_cause", decided.overturned_by("cause")),
            ],
        }
        return page("model.html", session.language, values)


def _queues(desk: ReviewDesk, tenants: tuple[str, ...]) -> list[QueueSize]:
    """The largest queues that somebody may see."""
    seen = [one for one in desk.figures.current().queues if not tenants or one.tenant in tenants]
    return sorted(seen, key=lambda one: -one.size)[:_ROWS_MOST]
