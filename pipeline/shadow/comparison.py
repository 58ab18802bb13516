"""Comparison: verdicts of the incumbent and of a candidate on one content, joined, and told apart by direction. Pure.

A pair is made of two verdicts with the same tenant, post, revision and content hash. A verdict without its
counterpart waits for a bounded time. After that it is a comparison, too: the outcome says what is missing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from sluicegate.pipeline.clock import AHEAD_S
from sluicegate.schemas import Action, Kind, Verdict

_SEVERITY = {Action.ALLOW: 0, Action.REVIEW: 1, Action.BLOCK: 2}
_COHORTS = 64


def severity_rank(action: Action) -> int:
    """0 for an allow, 1 for a review, 2 for a block: how severe an action is."""
    return _SEVERITY[action]


class Outcome(StrEnum):
    """How two verdicts on one content compare. Every content of the sample has exactly one."""

    AGREE = "agree"
    STRICTER = "candidate_stricter"
    PERMISSIVE = "candidate_permissive"
    INCUMBENT_FAILED = "incumbent_failed"
    CANDIDATE_FAILED = "candidate_failed"
    BOTH_FAILED = "both_failed"
    INCUMBENT_MISSING = "incumbent_missing"
    CANDIDATE_MISSING = "candidate_missing"
    """Not judged in time, shed, lost or undecidable: it never counts as agreement."""

    @property
    def is_compared(self) -> bool:
        """True if both judged: these alone have a direction."""
        return self in (Outcome.AGREE, Outcome.STRICTER, Outcome.PERMISSIVE)


class Seat(StrEnum):
    """Whose verdict it is. The topic tells: one judge may sit on both, for the posts that a candidate leaves as they are."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"


class Cohort(NamedTuple):
    """Who judged a post, as its verdict names it."""

    engine: str
    """Digest of the bundle, or of the screen."""
    adapter: str | None
    policy: str
    """Digest of the policy."""


@dataclass(frozen=True, slots=True)
class Judges:
    """All who may answer for one side. Verdicts of anybody else are never counted with theirs."""

    engines: frozenset[str]
    """Digests of the engine's bundle, of those of adapters, and of the screen."""
    policy: str

    def include(self, cohort: Cohort) -> bool:
        """Whether a verdict is theirs."""
        return cohort.policy == self.policy and cohort.engine in self.engines


class JudgedContent(NamedTuple):
    """What was judged."""

    tenant: str
    post_id: str
    revision: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Side:
    """One verdict, as far as a comparison needs it. It holds no text."""

    content: JudgedContent
    cohort: Cohort
    action: Action
    """What was decided: where a breaker withheld a block, that block. A breaker is no judgement of the text."""
    failed: bool
    kind: Kind
    language: str | None
    categories: tuple[str, ...]
    verdict_id: str
    root: str
    """Id of the first verdict with this finding: copies of a text, and near duplicates, have one."""
    at: float
    """When it was judged, in seconds since 1970."""
    engine_ms: float = 0.0
    """How long the engine took; 0 where it was not asked."""


def side(verdict: Verdict) -> Side:
    """What a comparison needs of a verdict."""
    return Side(
        JudgedContent(verdict.tenant, verdict.post_id, verdict.revision, verdict.content_hash),
        Cohort(verdict.engine.digest, verdict.engine.adapter, verdict.policy.digest),
        _policys_action(verdict),
        verdict.failure is not None,
        verdict.kind,
        verdict.language,
        verdict.categories,
        verdict.verdict_id,
        verdict.reused_from or verdict.verdict_id,
        verdict.judged_at.timestamp(),
        verdict.timings.engine_ms,
    )


def _policys_action(verdict: Verdict) -> Action:
    """What the policy decided. Breakers and shared patterns stand beside the live judge alone, whichever that is."""
    if verdict.is_raised:
        return Action.ALLOW
    return verdict.action if verdict.breaker is None else verdict.breaker.action


def side_values(one: Side) -> dict[str, Any]:
    """A side as JSON values."""
    values = {each.name: getattr(one, each.name) for each in fields(Side)}
    return {**values, "content": [*one.content], "cohort": [*one.cohort]}


def side_from(values: dict[str, Any]) -> Side:
    """What :func:`side_values` gave."""
    made = {
        "content": JudgedContent(*values["content"]),
        "cohort": Cohort(*values["cohort"]),
        "action": Action(values["action"]),
        "categories": tuple(values["categories"]),
    }
    return Side(**{**values, **made})


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdicts of both on one content, or of one of them."""

    incumbent: Side | None
    candidate: Side | None

    @property
    def known(self) -> Side:
        """The incumbent's verdict; the candidate's where there is no other."""
        known = self.incumbent or self.candidate
        if known is None:
            raise ValueError("a comparison has at least one side; give one")
        return known

    @property
    def outcome(self) -> Outcome:
        """How the two compare."""
        if self.candidate is None:
            return Outcome.CANDIDATE_MISSING
        if self.incumbent is None:
            return Outcome.INCUMBENT_MISSING
        if self.incumbent.failed:
            return Outcome.BOTH_FAILED if self.candidate.failed else Outcome.INCUMBENT_FAILED
        if self.candidate.failed:
            return Outcome.CANDIDATE_FAILED
        if self.milder:
            return Outcome.PERMISSIVE
        return Outcome.AGREE if self.candidate.action is self.incumbent.action else Outcome.STRICTER

    @property
    def milder(self) -> bool:
        """True if the incumbent judged, and the candidate's action is milder, even as the failure mode of a failure.

        A candidate whose failures allow what the incumbent blocks would let it pass, whatever the reason.
        """
        if self.incumbent is None or self.candidate is None or self.incumbent.failed:
            return False
        return severity_rank(self.candidate.action) < severity_rank(self.incumbent.action)


@dataclass(slots=True)
class _OpenPair:
    since: float
    forgotten_until: float
    """As it was when the pair was opened: what is forgotten later is of other contents."""
    sides: dict[Seat, Side] = field(default_factory=dict)


@dataclass(slots=True)
class _ClosedPair:
    since: float
    newest: float
    had: frozenset[Seat]


@dataclass(slots=True)
class Pairs:
    """Joins the verdicts of both. Each content is compared once, and nothing waits for ever.

    Times are seconds since 1970 on a clock that the caller hands in. Hand in the time of the stream, which is the newest
    record's timestamp, and not the time of day: a comparator that was away then neither hurries nor gives up too much.

    Args:
        incumbent: Those who act. Verdicts of others are counted as foreign, and compared with nothing.
        candidate: Those who are tried.
        wait_s: For how long a verdict waits for its counterpart.
        remember_s: For how long a content that was compared is known, so that a repeat is not compared again.
        most: Contents that wait, and contents that are remembered, at most. With more, the oldest is given up.
    """

    incumbent: Judges
    candidate: Judges
    wait_s: float = 900.0
    remember_s: float = 3_600.0
    most: int = 100_000
    foreign: Counter[Cohort] = field(default_factory=Counter, init=False)
    """Verdicts of others, by who they are; of the first 64 of these."""
    repeats: int = field(default=0, init=False)
    """Verdicts on a content that has one of this side already. Delivery is at least once."""
    late: int = field(default=0, init=False)
    """Verdicts that came after their content was given up, or that are as old as what was forgotten."""
    ahead: int = field(default=0, init=False)
    """Verdicts from more than a minute ahead of the clock: nothing can be ordered by them."""
    crowded_out: int = field(default=0, init=False)
    """Contents that were given up before their time, for want of room."""
    _now: float = field(default=0.0, init=False)
    _waiting: OrderedDict[JudgedContent, _OpenPair] = field(default_factory=OrderedDict, init=False)
    _done: OrderedDict[JudgedContent, _ClosedPair] = field(default_factory=OrderedDict, init=False)
    _forgotten_until: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        if self.incumbent == self.candidate:
            raise ValueError(
                "incumbent and candidate have the same engines and the same policy; give two that differ"
            )
        if not (self.wait_s > 0 and self.remember_s > 0 and self.most > 0):
            raise ValueError("times and room have to be above 0; leave them out for the defaults")

    def __len__(self) -> int:
        """Contents that are held in memory, waiting or remembered."""
        return len(self._waiting) + len(self._done)

    @property
    def waiting(self) -> int:
        """Contents that one of both has judged so far. A candidate that skips the hard ones leaves them here at first."""
        return len(self._waiting)

    @property
    def unjoined(self) -> int:
        """Contents that were not compared, as far as coverage goes: it never speaks of the joined ones alone."""
        return self.late + self.ahead + self.waiting

    def take(self, seat: Seat, verdict: Side, now: float) -> list[Comparison]:
        """Take a verdict of either in; what is compared or given up by that."""
        closed = self.advance(now)
        judges = self.incumbent if seat is Seat.INCUMBENT else self.candidate
        if not judges.include(verdict.cohort):
            if verdict.cohort in self.foreign or len(self.foreign) < _COHORTS:
                self.foreign[verdict.cohort] += 1
            return closed
        if verdict.at > self._now + AHEAD_S:
            self.ahead += 1
            return closed
        done = self._done.get(verdict.content)
        if done is not None:
            done.newest = max(done.newest, verdict.at)
            if seat in done.had:
                self.repeats += 1
            else:
                self.late += 1
            return closed
        waiting = self._waiting.get(verdict.content)
        if verdict.at <= (self._forgotten_until if waiting is None else waiting.forgotten_until):
            self.late += 1
            return closed
        return closed + self._join(seat, verdict)

    def advance(self, now: float) -> list[Comparison]:
        """Let time pass: contents that have waited for long enough are given up, in the order in which they came."""
        self._now = max(self._now, now)
        closed = []
        while self._waiting:
            content, entry = next(iter(self._waiting.items()))
            if entry.since + self.wait_s > self._now:
                break
            closed.append(self._close(content))
        while self._done and next(iter(self._done.values())).since + self.remember_s <= self._now:
            self._forget()
        return closed

    def drain(self) -> list[Comparison]:
        """Give up everything that waits, as at the end of an experiment."""
        return [self._close(content) for content in [*self._waiting]]

    def state(self) -> dict[str, Any]:
        """All that is known, as JSON values for :meth:`restore`."""
        return {
            "now": self._now,
            "forgotten_until": _or_none(self._forgotten_until),
            "counts": [self.repeats, self.late, self.ahead, self.crowded_out],
            "foreign": [[[*cohort], number] for cohort, number in self.foreign.items()],
            "waiting": [
                [
                    one.since,
                    _or_none(one.forgotten_until),
                    {seat.value: side_values(side) for seat, side in one.sides.items()},
                ]
                for one in self._waiting.values()
            ],
            "done": [
                [[*content], one.since, one.newest, sorted(one.had)] for content, one in self._done.items()
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._now, self._forgotten_until = state["now"], _from_none(state["forgotten_until"])
        self.repeats, self.late, self.ahead, self.crowded_out = state["counts"]
        self.foreign = Counter({Cohort(*cohort): number for cohort, number in state["foreign"]})
        for since, forgotten_until, sides in state["waiting"]:
            entry = _OpenPair(since, _from_none(forgotten_until))
            entry.sides = {Seat(seat): side_from(values) for seat, values in sides.items()}
            self._waiting[next(iter(entry.sides.values())).content] = entry
        for content, since, newest, had in state["done"]:
            self._done[JudgedContent(*content)] = _ClosedPair(since, newest, frozenset(map(Seat, had)))

    def _join(self, seat: Seat, verdict: Side) -> list[Comparison]:
        entry = self._waiting.get(verdict.content)
        closed = []
        if entry is None:
            if len(self._waiting) >= self.most:
                self.crowded_out += 1
                closed.append(self._close(next(iter(self._waiting))))
            entry = self._waiting[verdict.content] = _OpenPair(self._now, self._forgotten_until)
        before = entry.sides.get(seat)
        self.repeats += before is not None
        # The newest verdict counts, and of two at one moment the greater id, as everywhere.
        if before is None or (verdict.at, verdict.verdict_id) > (before.at, before.verdict_id):
            entry.sides[seat] = verdict
        if len(entry.sides) == 2:
            closed.append(self._close(verdict.content))
        return closed

    def _close(self, content: JudgedContent) -> Comparison:
        sides = self._waiting.pop(content).sides
        if len(self._done) >= self.most:
            self._forget()
        newest = max(one.at for one in sides.values())
        self._done[content] = _ClosedPair(self._now, newest, frozenset(sides))
        return Comparison(sides.get(Seat.INCUMBENT), sides.get(Seat.CANDIDATE))

    def _forget(self) -> None:
        # A repeat of what is forgotten is no newer than this: refused by its age, it is not compared again.
        _, done = self._done.popitem(last=False)
        self._forgotten_until = max(self._forgotten_until, done.newest)


def _or_none(moment: float) -> float | None:
    """A moment as JSON has it: it has no number for the beginning of time."""
    return None if moment == float("-inf") else moment


def _from_none(moment: float | None) -> float:
    return float("-inf") if moment is None else moment
