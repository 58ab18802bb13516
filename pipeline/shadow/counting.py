"""Counting: what a comparator knows of an experiment. Verdicts go in, and records for people come out. Pure.

All of it is one document of JSON values, offsets beside counts. Written in one move, it survives a kill at any moment: a
verdict is then in both, or in neither.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.shadow.comparison import Comparison, JudgedContent, Pairs, Seat, Side, side
from sluicegate.pipeline.shadow.records import ComparedPost, to_review
from sluicegate.pipeline.shadow.redecide import redecided
from sluicegate.pipeline.shadow.reviews import Reviews
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.summary import EngineCost, Experiment, Series, SeriesPoint, summarise
from sluicegate.pipeline.shadow.tally import Tally
from sluicegate.pipeline.shadow.watch import Watch
from sluicegate.schemas import Action, Resolution, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


FORMAT = 1
"""Of the file. Another one is not read."""
_MOST_DECIDED = 20_000
"""Verdicts that acted and that people may still overturn. Older ones are forgotten."""


class _Acted(NamedTuple):
    """A verdict that acted."""

    by_candidate: bool
    action: Action
    tenant: str


@dataclass(frozen=True, slots=True)
class Policies:
    """Both policies, where the candidate is a policy alone: what it makes of recorded scores needs no engine."""

    incumbent: Policy
    candidate: Policy


@dataclass(slots=True)
class Counting:
    """What is known of one experiment.

    Args:
        experiment: What is compared with what. Its state may change; its judges and its name may not.
        audit_share: How likely people are asked about a post on which both agree.
        policies: Both policies, where the candidate is a policy alone.
        wait_s: For how long a verdict waits for its counterpart.
    """

    experiment: Experiment
    audit_share: float = 0.0
    policies: Policies | None = None
    wait_s: float = 900.0
    pairs: Pairs = field(init=False)
    tally: Tally = field(default_factory=Tally, init=False)
    series: Series = field(default_factory=Series, init=False)
    reviews: Reviews = field(default_factory=Reviews, init=False)
    offsets: dict[Partition, int] = field(default_factory=dict, init=False)
    """The next record to read, by topic and partition."""
    began_at: float | None = field(default=None, init=False)
    """When the candidate began to judge, in seconds since 1970. What the incumbent judged before counts nothing."""
    until_at: float = field(default=0.0, init=False)
    concluded: dict[str, Any] | None = field(default=None, init=False)
    """The summary that a certificate or a rejection rests on."""
    before: Watch = field(default_factory=Watch, init=False)
    """Of posts on which the incumbent acted."""
    acting: Watch = field(default_factory=Watch, init=False)
    """Of posts on which the candidate acted, and the incumbent judged in the shadow."""
    candidate_since: float | None = field(default=None, init=False)
    """Since when every verdict of the sample that acted was the candidate's, in seconds since 1970; None where it was not."""
    _acted_on: OrderedDict[JudgedContent, None] = field(default_factory=OrderedDict, init=False)
    _acted: OrderedDict[str, _Acted] = field(default_factory=OrderedDict, init=False)
    _canary_tenants: set[str] = field(default_factory=set, init=False)
    _cost: dict[Seat, EngineCost] = field(
        default_factory=lambda: {seat: EngineCost(0, 0.0) for seat in Seat}, init=False
    )

    def __post_init__(self) -> None:
        one = self.experiment
        self.pairs = Pairs(one.incumbent.judges, one.candidate.judges, wait_s=self.wait_s)

    def holds(self, tenant: str, post_id: str) -> bool:
        """Whether a post is in the sample."""
        return ShadowSample(self.experiment.name, self.experiment.share).holds(tenant, post_id)

    def take(self, seat: Seat, verdict: Verdict, now: float) -> list[ComparedPost]:
        """Take a verdict in; the posts that people shall judge by that.

        Args:
            seat: Whose topic it is from. In a canary, verdicts of both stand on both.
            verdict: It.
            now: The time of the stream, in seconds since 1970.
        """
        if not self.holds(verdict.tenant, verdict.post_id):
            return []
        known = side(verdict)
        if self.began_at is None and seat is Seat.CANDIDATE and self.pairs.candidate.include(known.cohort):
            # Before, nobody judged for the candidate: what it did not judge then is not missing.
            self.began_at = known.at - verdict.timings.total_ms / 1000
        if self.began_at is None or known.at < self.began_at:
            return []
        self.until_at = max(self.until_at, now)
        is_live, seat = seat is Seat.INCUMBENT, self._seat_of(known, seat)
        sides = [(seat, known)]
        if is_live:
            self._note_acted(seat, known, verdict)
            sides += self._redecided(seat, verdict)
        asked: list[ComparedPost] = []
        for whose, one in sides:
            self._charge(whose, one, verdict)
            asked += self._count(self.pairs.take(whose, one, now))
        return asked

    def _seat_of(self, known: Side, topic: Seat) -> Seat:
        """Whose verdict it is. A verdict of nobody, or of both, is that of its topic."""
        by_incumbent = self.pairs.incumbent.include(known.cohort)
        by_candidate = self.pairs.candidate.include(known.cohort)
        if by_incumbent is by_candidate:
            return topic
        return Seat.CANDIDATE if by_candidate else Seat.INCUMBENT

    def _redecided(self, seat: Seat, verdict: Verdict) -> list[tuple[Seat, Side]]:
        """What the other policy makes of the same scores, where policies are all that differs."""
        if self.policies is None:
            return []
        both, other = (self.policies.incumbent, self.policies.candidate), Seat.CANDIDATE
        if seat is Seat.CANDIDATE:
            both, other = (both[1], both[0]), Seat.INCUMBENT
        again = redecided(verdict, *both)
        return [] if again is None else [(other, again)]

    def _note_acted(self, seat: Seat, known: Side, verdict: Verdict) -> None:
        """Note a verdict that acted: by whom, so that its comparison and what people say of it count for that one."""
        by_candidate = seat is Seat.CANDIDATE
        if not by_candidate:
            self.candidate_since = None
        elif self.candidate_since is None:
            self.candidate_since = known.at
        if by_candidate:
            self._canary_tenants.add(verdict.tenant)
            self._acted_on[known.content] = None
            if len(self._acted_on) > self.pairs.most:
                self._acted_on.popitem(last=False)
            # A flood that a shared pattern blocks is no fault of the candidate's.
            if verdict.breaker is not None and not verdict.is_raised:
                self.acting.trips = 1
        if verdict.tenant in self._canary_tenants and known.action is not Action.REVIEW:
            self._acted[verdict.verdict_id] = _Acted(by_candidate, known.action, verdict.tenant)
            if len(self._acted) > _MOST_DECIDED:
                self._acted.popitem(last=False)

    def against(self, share: float | None) -> tuple[str, ...]:
        """Why a candidate that acts is to be rolled back; none while nothing is shown against it.

        Args:
            share: Of the posts on which it acts; None where it acts on all.
        """
        counts = self.reviews.counts
        self.acting.candidate_right, self.acting.incumbent_right = (
            counts.candidate_right,
            counts.incumbent_right,
        )
        # Of the sample that is compared, its part is greater.
        of_sample = None if share is None else min(1.0, share / self.experiment.share)
        certified = (self.before.differ, self.before.posts) if self.before.posts else None
        return self.acting.reasons(self.experiment.terms, share=of_sample, certified=certified)

    def advance(self, now: float) -> list[ComparedPost]:
        """Let time pass: what waited for too long is counted as missing."""
        return self._count(self.pairs.advance(now))

    def resolve(self, resolution: Resolution) -> None:
        """Take in what a person decided."""
        self.reviews.take(resolution)
        acted = self._acted.pop(resolution.verdict_id, None) if not resolution.reopens else None
        if acted is not None and acted.action is not resolution.action:
            self.acting.overturned += acted.by_candidate
            self.acting.overturned_incumbent += not acted.by_candidate

    def summary(self) -> dict[str, Any]:
        """All that is known, for people."""
        return summarise(
            self.experiment,
            self.tally,
            self.pairs,
            span=(self.began_at or 0.0, self.until_at),
            reviews=self.reviews.counts,
            cost=(self._cost[Seat.INCUMBENT], self._cost[Seat.CANDIDATE]),
            series=self.series.points,
        )

    def _charge(self, seat: Seat, one: Side, verdict: Verdict) -> None:
        judges = self.pairs.incumbent if seat is Seat.INCUMBENT else self.pairs.candidate
        if judges.include(one.cohort):
            before = self._cost[seat]
            # A policy that decides again asks no engine.
            engine_ms = 0 if one.cohort.policy != verdict.policy.digest else verdict.timings.engine_ms
            self._cost[seat] = EngineCost(before.posts + 1, (before.engine_s or 0.0) + engine_ms / 1000)

    def _count(self, comparisons: Sequence[Comparison]) -> list[ComparedPost]:
        asked = []
        for one in comparisons:
            is_evidence = self.tally.add(one)
            watch = self.before
            if one.known.content in self._acted_on:
                del self._acted_on[one.known.content]
                watch = self.acting
            watch.add(one, is_evidence=is_evidence)
            post = to_review(self.experiment.name, one, is_evidence=is_evidence, audit_share=self.audit_share)
            if post is not None:
                self.reviews.ask(post)
                asked.append(post)
        if comparisons:
            self.series.note(self.until_at, self.tally)
        return asked

    def encode(self) -> bytes:
        """All of it, for :meth:`restore`."""
        one = self.experiment
        return orjson.dumps(
            {
                "format": FORMAT,
                "experiment": one.name,
                "incumbent": one.incumbent.model_dump(mode="json"),
                "candidate": one.candidate.model_dump(mode="json"),
                "summary": self.summary(),
                "concluded": self.concluded,
                "offsets": [[topic, number, offset] for (topic, number), offset in self.offsets.items()],
                "span": [self.began_at, self.until_at],
                "cost": {seat.value: [*cost] for seat, cost in self._cost.items()},
                "pairs": self.pairs.state(),
                "tally": self.tally.state(),
                "series": {"every_s": self.series.every_s, "points": [[*one] for one in self.series.points]},
                "reviews": self.reviews.document(),
                "before": self.before.document(),
                "acting": self.acting.document(),
                "candidate_since": self.candidate_since,
                "acted_on": [[*one] for one in self._acted_on],
                "acted": [[name, *one] for name, one in self._acted.items()],
                "canary_tenants": sorted(self._canary_tenants),
            }
        )

    def restore(self, content: bytes) -> Self:
        """Go on from what :meth:`encode` gave.

        Raises:
            CandidateError: It is none, or of another experiment.
        """
        state = read_state(content)
        one = self.experiment
        given = (one.name, one.incumbent.model_dump(mode="json"), one.candidate.model_dump(mode="json"))
        if (state["experiment"], state["incumbent"], state["candidate"]) != given:
            raise CandidateError(
                f"candidate.state_file has the counts of experiment {state['experiment']}, or of other judges; "
                "give this one a file of its own"
            )
        self.concluded = state["concluded"]
        self.offsets = {(topic, number): offset for topic, number, offset in state["offsets"]}
        self.began_at, self.until_at = state["span"]
        self._cost = {Seat(seat): EngineCost(*cost) for seat, cost in state["cost"].items()}
        self.pairs.restore(state["pairs"])
        self.tally.restore(state["tally"])
        series = state["series"]
        self.series = Series(series["every_s"], [SeriesPoint(*one) for one in series["points"]])
        self.reviews = Reviews.restore(state["reviews"])
        self.before, self.acting = Watch.restore(state["before"]), Watch.restore(state["acting"])
        self.candidate_since = state["candidate_since"]
        self._acted_on = OrderedDict((JudgedContent(*one), None) for one in state["acted_on"])
        self._acted = OrderedDict(
            (name, _Acted(by_candidate, Action(action), tenant))
            for name, by_candidate, action, tenant in state["acted"]
        )
        self._canary_tenants = set(state["canary_tenants"])
        return self


def read_state(content: bytes) -> dict[str, Any]:
    """The document in a file of counts.

    Raises:
        CandidateError: It is none of this version.
    """
    try:
        state = orjson.loads(content)
    except orjson.JSONDecodeError:
        state = None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CandidateError(
            "candidate.state_file is no file of counts that this version knows; move it away, and all is counted again"
        )
    return state
