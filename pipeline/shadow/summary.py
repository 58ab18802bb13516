"""Summary: what is known of an experiment, as one document of JSON values. Pure.

The comparator makes it, `sluicegate shadow report` makes pages of it, and the desk shows it. Coverage stands before every rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sluicegate.pipeline.shadow.certificate import CertificateTerms, conclude
from sluicegate.pipeline.shadow.comparison import Outcome, Pairs
from sluicegate.pipeline.shadow.states import CandidateState, JudgeDigests
from sluicegate.pipeline.shadow.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = 1
"""Of the document. Another one is not read."""
MOST_POINTS = 240
"""Of the series over time: more than a plot has room for."""
_FAILED = (Outcome.INCUMBENT_FAILED, Outcome.CANDIDATE_FAILED, Outcome.BOTH_FAILED)
_MISSING = (Outcome.INCUMBENT_MISSING, Outcome.CANDIDATE_MISSING)


class ReviewCounts(NamedTuple):
    """Blind reviews of posts on which the two differ: whose action was the person's."""

    candidate_right: int = 0
    incumbent_right: int = 0
    both_right: int = 0
    """The two said the same, and so did the person: of drawn posts on which they agree."""
    neither_right: int = 0


class EngineCost(NamedTuple):
    """What one side's judging took."""

    posts: int = 0
    engine_s: float | None = None
    """Seconds of the engine's time for these posts; None where nobody counted them."""


class SeriesPoint(NamedTuple):
    """Counts from the beginning until a moment."""

    until_at: float
    """Time of the stream, in seconds since 1970."""
    contents: int
    compared: int
    stricter: int
    permissive: int
    failed: int
    missing: int
    posts: int
    """Evidence, as in :class:`~sluicegate.pipeline.shadow.tally.Counted`."""
    milder: int


@dataclass(slots=True)
class Series:
    """Counts over time, in at most :data:`MOST_POINTS` points. When it is full, every second point goes.

    Args:
        every_s: For how long nothing is noted after a point.
        points: Those that were noted before.
    """

    every_s: float = 60.0
    points: list[SeriesPoint] = field(default_factory=list)

    def note(self, at: float, tally: Tally) -> bool:
        """Note the counts at a moment of the stream; False if the last point is too near."""
        if self.points and at < self.points[-1].until_at + self.every_s:
            return False
        self.points.append(_point(at, tally))
        if len(self.points) > MOST_POINTS:
            self.points = self.points[1::2]
            self.every_s *= 2
        return True


def _point(at: float, tally: Tally) -> SeriesPoint:
    counted = tally.all
    outcomes = counted.outcomes
    return SeriesPoint(
        at,
        counted.contents,
        sum(number for outcome, number in outcomes.items() if outcome.is_compared),
        outcomes[Outcome.STRICTER],
        outcomes[Outcome.PERMISSIVE],
        sum(outcomes[one] for one in _FAILED),
        sum(outcomes[one] for one in _MISSING),
        counted.posts,
        counted.milder,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is compared with what, and on which terms."""

    name: str
    share: float
    """Which share of the posts the candidate judges."""
    incumbent: JudgeDigests
    candidate: JudgeDigests
    terms: CertificateTerms
    state: CandidateState | None = None
    """That of its newest fact; None without one."""


_NO_REVIEWS = ReviewCounts()
_NO_COST = EngineCost()


def summarise(
    experiment: Experiment,
    tally: Tally,
    pairs: Pairs,
    *,
    span: tuple[float, float],
    reviews: ReviewCounts = _NO_REVIEWS,
    cost: tuple[EngineCost, EngineCost] = (_NO_COST, _NO_COST),
    series: Sequence[SeriesPoint] = (),
) -> dict[str, Any]:
    """The document of an experiment.

    Args:
        experiment: What is compared.
        tally: What was counted.
        pairs: What could not be joined.
        span: Time of the stream at the first verdict that counted and at the newest, in seconds since 1970.
        reviews: What people found.
        cost: Of the incumbent, and of the candidate.
        series: Counts over time, oldest first. The counts of this moment are added.
    """
    terms, (began_at, until_at) = experiment.terms, span
    found = conclude(
        tally,
        terms,
        unjoined=pairs.unjoined,
        candidate_right=reviews.candidate_right,
        incumbent_right=reviews.incumbent_right,
    )
    now = _point(until_at, tally)
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "state": None if experiment.state is None else experiment.state.value,
        "share": experiment.share,
        "began_at": began_at,
        "until_at": until_at,
        "incumbent": experiment.incumbent.model_dump(mode="json"),
        "candidate": experiment.candidate.model_dump(mode="json"),
        "terms": asdict(terms),
        "tally": tally.document(terms.alpha),
        "unjoined": {
            "late": pairs.late,
            "ahead": pairs.ahead,
            "waiting": pairs.waiting,
            "crowded_out": pairs.crowded_out,
            "foreign": pairs.foreign.total(),
        },
        "conclusion": {
            "ruling": found.ruling.value,
            "reasons": list(found.reasons),
            "shown": list(found.shown),
            "unjudged": list(found.unjudged),
        },
        "reviews": reviews._asdict(),
        "cost": {
            "incumbent": cost[0]._asdict(),
            "candidate": cost[1]._asdict(),
        },
        "series": [one._asdict() for one in (*(one for one in series if one.until_at < until_at), now)],
    }


def covered(document: Mapping[str, Any]) -> float:
    """Share of the contents that both judged, as the certificate counts it: what came too late was not compared.

    Args:
        document: One that :func:`summarise` made.
    """
    tally, contents = document["tally"], known_contents(document)
    return float(tally["coverage"] * tally["contents"] / contents) if contents else 0.0


def known_contents(document: Mapping[str, Any]) -> int:
    """Contents of the sample that one of both judged at least, compared or not.

    Args:
        document: One that :func:`summarise` made; of an earlier comparator, too, which did not tell who waits.
    """
    unjoined = document["unjoined"]
    return int(
        document["tally"]["contents"] + sum(unjoined.get(why, 0) for why in ("late", "ahead", "waiting"))
    )


def engine_s_per_1000(cost: dict[str, Any]) -> float | None:
    """Seconds of the engine's time for 1,000 posts; None where it is not known."""
    if cost["engine_s"] is None or not cost["posts"]:
        return None
    return float(1000 * cost["engine_s"] / cost["posts"])
