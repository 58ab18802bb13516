"""Figures that people look at: what waits, what was decided, and how sure that is. A page shows the last count, and waits for none.

To count a million cases takes a second. The figures of what people decided are tallies: small rows that are counted once, and
summed as a page asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from sqlalchemy import case, func, literal, select

from sluicegate.pipeline.review.store import OPEN_STATES, ReviewStore
from sluicegate.pipeline.review.tables import cases, decisions
from sluicegate.schemas import Basis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

HOUR_S = 3600.0
WINDOW_S = 30 * 86_400.0
"""Figures of what people decided are of so many seconds before now."""
HOURS = 24
_FRESH_S = 2.0
_SHARE = 20  # counting takes at most one part in so many of the time
_Z = 1.959964  # 95 % of a normal distribution
_T = TypeVar("_T")

Grouping = Literal["tenant", "language", "category", "rule", "cause"]
"""By what decisions are grouped. A queue is a tenant, a language or a category."""


class CountedShare(NamedTuple):
    """A share that was counted, and between which bounds it may really be."""

    hits: int
    of: int

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where nothing was counted."""
        return self.hits / self.of if self.of else None

    @property
    def low(self) -> float:
        """Lower bound of Wilson's interval of 95 %; 0 where nothing was counted."""
        return self._bounds()[0]

    @property
    def high(self) -> float:
        """Upper bound of the same; 1 where nothing was counted."""
        return self._bounds()[1]

    def _bounds(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        share, spread = self.hits / self.of, _Z * _Z / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = _Z * math.sqrt(share * (1 - share) / self.of + spread / (4 * self.of)) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


class QueueSize(NamedTuple):
    """One queue."""

    tenant: str
    language: str
    state: str
    breaker: bool
    size: int
    due_at: float
    """Unix seconds by which its first case is due."""
    opened_at: float
    """Unix seconds at which its oldest case came."""


@dataclass(frozen=True, slots=True)
class CountedQueues:
    """What was counted, and when."""

    queues: tuple[QueueSize, ...]

    def open(self, state: str, tenants: tuple[str, ...] = ()) -> int:
        """How many cases wait in a state, in some tenants or in all."""
        return sum(
            one.size for one in self.queues if one.state == state and (not tenants or one.tenant in tenants)
        )

    def breakers(self, tenants: tuple[str, ...] | None) -> list[str]:
        """Tenants with breaker cases, of these or of all. None asks for none."""
        if tenants is None:
            return []
        found = {one.tenant for one in self.queues if one.breaker and one.state == "open"}
        return sorted(one for one in found if not tenants or one in tenants)


class SettledTally(NamedTuple):
    """Decisions that settled cases, each by a person who looked: those that are alike, as one row."""

    tenant: str
    language: str
    category: str
    """The machine's first category; empty where it named none."""
    rule: str
    """The policy's rule that fired; empty where it is not known."""
    cause: str
    """Why a person was asked, such as ``review`` or ``audit``."""
    blind: bool
    """True if the person had not seen the verdict."""
    overturned: bool | None
    """True if the person's action is not the machine's; None where the machine had none."""
    number: int


class PairTally(NamedTuple):
    """Two people who read the same cases, each without the other's answer."""

    reviewers: tuple[str, str]
    tenant: str
    language: str
    category: str
    agreed: bool
    """True if both said the same action and severity."""
    number: int


class GoldenTally(NamedTuple):
    """Answers of a reviewer to cases whose answer is known."""

    reviewer: str
    tenant: str
    right: bool
    """True if action and severity are those that are known."""
    number: int


class HourTally(NamedTuple):
    """Answers of a tenant within an hour."""

    begins_at: float
    """Unix seconds."""
    tenant: str
    number: int


class ExposureTally(NamedTuple):
    """What a reviewer decided within the last hour."""

    reviewer: str
    tenant: str
    decided: int
    unsafe: int
    """How many of them the reviewer found unsafe: the texts that weigh on people."""


@dataclass(frozen=True, slots=True)
class DecidedFigures:
    """What people decided within :data:`WINDOW_S`. Pure: every figure is a sum over its tallies.

    Bulk decisions and answers to golden cases are in no share of what was overturned: nobody looked at the first, and the
    second are chosen for what their answer is.
    """

    at: float
    """Unix seconds at which it was counted."""
    settled: tuple[SettledTally, ...] = ()
    pairs: tuple[PairTally, ...] = ()
    golden: tuple[GoldenTally, ...] = ()
    hours: tuple[HourTally, ...] = ()
    exposure: tuple[ExposureTally, ...] = ()

    def of(self, tenants: tuple[str, ...]) -> DecidedFigures:
        """The same of some tenants. None are all: so it is written in a reviewer's rights."""
        if not tenants:
            return self
        return replace(
            self,
            settled=tuple(one for one in self.settled if one.tenant in tenants),
            pairs=tuple(one for one in self.pairs if one.tenant in tenants),
            golden=tuple(one for one in self.golden if one.tenant in tenants),
            hours=tuple(one for one in self.hours if one.tenant in tenants),
            exposure=tuple(one for one in self.exposure if one.tenant in tenants),
        )

    def overturned(self, *, blind: bool | None = None, cause: str | None = None) -> CountedShare:
        """How often people overturned the machine.

        Args:
            blind: Of those who had not seen the verdict, or of those who had; None is all.
            cause: Of cases that came for this cause, such as ``review``; None is all.
        """
        return _share(
            (one.overturned, one.number) for one in self._scored(blind, cause) if one.overturned is not None
        )

    def overturned_by(
        self, name: Grouping, *, blind: bool | None = None, cause: str | None = None
    ) -> dict[str, CountedShare]:
        """The same apart by tenant, language, category, rule or cause: those with most cases first."""
        found: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        for one in self._scored(blind, cause):
            if one.overturned is not None:
                found[getattr(one, name)].append((one.overturned, one.number))
        return _sorted(found)

    def agreement(self) -> CountedShare:
        """How often two people who read a case apart said the same."""
        return _share((one.agreed, one.number) for one in self.pairs)

    def agreement_by(
        self, name: Literal["reviewer", "tenant", "language", "category"]
    ) -> dict[str, CountedShare]:
        """The same apart by reviewer, tenant, language or category. A pair counts for both of its reviewers."""
        found: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        for one in self.pairs:
            for value in one.reviewers if name == "reviewer" else (getattr(one, name),):
                found[value].append((one.agreed, one.number))
        return _sorted(found)

    def golden_by_reviewer(self) -> dict[str, CountedShare]:
        """How often each reviewer gave the known answer of a golden case."""
        found: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        for one in self.golden:
            found[one.reviewer].append((one.right, one.number))
        return _sorted(found)

    def per_hour(self) -> list[tuple[float, int]]:
        """Answers within each of the last :data:`HOURS` hours, the oldest first: when it began in Unix seconds, and how many."""
        first = self.at - HOURS * HOUR_S
        found = {first + number * HOUR_S: 0 for number in range(HOURS)}
        for one in self.hours:
            found[one.begins_at] = found.get(one.begins_at, 0) + one.number
        return sorted(found.items())

    def exposed(self) -> dict[str, tuple[int, int]]:
        """What each reviewer decided within the last hour, and how much of it they found unsafe."""
        found: dict[str, tuple[int, int]] = {}
        for one in self.exposure:
            decided, unsafe = found.get(one.reviewer, (0, 0))
            found[one.reviewer] = decided + one.decided, unsafe + one.unsafe
        return dict(sorted(found.items()))

    def _scored(self, blind: bool | None, cause: str | None) -> Iterable[SettledTally]:
        for one in self.settled:
            if blind in (None, one.blind) and cause in (None, one.cause):
                yield one


class _Refreshed(Generic[_T]):
    """Something that is counted now and then. Thread-safe; one thread counts at a time."""

    def __init__(self, count: Callable[[], _T]) -> None:
        self._count = count
        self._counted: tuple[_T, float, float] | None = None
        self._counting = threading.Lock()

    def current(self) -> _T:
        """The last count. One that is old is shown once more, while another is made."""
        if self._counted is None:
            with self._counting:
                return self._take() if self._counted is None else self._counted[0]
        counted, at, took_s = self._counted
        age_s = time.monotonic() - at
        if age_s > max(_FRESH_S, _SHARE * took_s) and self._counting.acquire(blocking=False):
            threading.Thread(target=self._count_beside, name="review-figures", daemon=True).start()
        return counted

    def _count_beside(self) -> None:
        try:
            self._take()
        finally:
            self._counting.release()

    def _take(self) -> _T:
        began = time.monotonic()
        counted = self._count()
        now = time.monotonic()
        self._counted = counted, now, now - began
        return counted


class QueueFigures:
    """Counts what waits, and what was decided. Thread-safe; one thread counts each at a time.

    Args:
        store: What is counted.
    """

    def __init__(self, store: ReviewStore) -> None:
        self._store = store
        self._queues = _Refreshed(self._count_queues)
        self._decided = _Refreshed(self._count_decided)

    def current(self) -> CountedQueues:
        """What waits, as it was counted last."""
        return self._queues.current()

    def decided(self) -> DecidedFigures:
        """What people decided, as it was counted last."""
        return self._decided.current()

    def _count_queues(self) -> CountedQueues:
        with self._store.reading() as connection:
            return count_queues(connection)

    def _count_decided(self) -> DecidedFigures:
        with self._store.reading() as connection:
            return count_decided(connection, time.time())


def count_queues(connection: Connection) -> CountedQueues:
    """Count what waits, now. It reads an index over all open cases."""
    rows = connection.execute(
        select(
            cases.c.tenant,
            cases.c.language,
            cases.c.state,
            cases.c.breaker,
            func.count(),
            func.min(cases.c.due_at),
            func.min(cases.c.opened_at),
        )
        .where(cases.c.state.in_(OPEN_STATES))
        .group_by(cases.c.tenant, cases.c.language, cases.c.state, cases.c.breaker)
        .order_by(cases.c.tenant, cases.c.language, cases.c.breaker)
    )
    return CountedQueues(tuple(QueueSize(*row) for row in rows))


def count_decided(connection: Connection, now: float) -> DecidedFigures:
    """Count what people decided until now, in Unix seconds."""
    return DecidedFigures(
        now,
        settled=_settled(connection, now),
        pairs=_pairs(connection, now),
        golden=_golden(connection, now),
        hours=_hours(connection, now),
        exposure=_exposure(connection, now),
    )


def _settled(connection: Connection, now: float) -> tuple[SettledTally, ...]:
    columns: list[Any] = [
        decisions.c.tenant,
        decisions.c.language,
        decisions.c.category,
        decisions.c.rule,
        decisions.c.cause,
        decisions.c.blind,
        decisions.c.machine_action,
        decisions.c.action,
    ]
    rows = connection.execute(
        select(*columns, func.count())
        .where(
            decisions.c.decided_at > now - WINDOW_S,
            decisions.c.settles,
            decisions.c.basis.not_in((Basis.BULK.value, Basis.GOLDEN.value)),
        )
        .group_by(*columns)
        .order_by(*columns)
    )
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for *of, machine, person, number in rows:
        found[*of, None if machine is None else machine != person] += number
    return tuple(SettledTally._make((*key, number)) for key, number in found.items())


def _pairs(connection: Connection, now: float) -> tuple[PairTally, ...]:
    """Two answers of one round whose basis is double. A third person's is adjudicated, and in no pair."""
    read: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in connection.execute(
        select(
            decisions.c.case_id,
            decisions.c.round,
            decisions.c.reviewer,
            decisions.c.tenant,
            decisions.c.language,
            decisions.c.category,
            decisions.c.action,
            decisions.c.severity,
        ).where(decisions.c.decided_at > now - WINDOW_S, decisions.c.basis == Basis.DOUBLE.value)
    ):
        read[row.case_id, row.round].append(row)
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for both in read.values():
        for one, other in combinations(sorted(both, key=lambda row: str(row.reviewer)), 2):
            agreed = (one.action, one.severity) == (other.action, other.severity)
            names = one.reviewer, other.reviewer
            found[names, one.tenant, one.language, one.category, agreed] += 1
    return tuple(PairTally._make((*key, number)) for key, number in sorted(found.items()))


def _golden(connection: Connection, now: float) -> tuple[GoldenTally, ...]:
    known = decisions.alias("known")
    # Counted here: a database without statistics would group by reading all decisions in the order of reviewers.
    rows = connection.execute(
        select(
            decisions.c.reviewer,
            decisions.c.tenant,
            decisions.c.action,
            decisions.c.severity,
            known.c.action.label("known_action"),
            known.c.severity.label("known_severity"),
        )
        .join(
            known,
            (known.c.case_id == decisions.c.case_id)
            & (known.c.round == decisions.c.round)
            & known.c.settles
            & (known.c.basis != Basis.GOLDEN.value),
        )
        .where(decisions.c.decided_at > now - WINDOW_S, decisions.c.basis == Basis.GOLDEN.value)
    )
    found = Counter(
        (
            row.reviewer,
            row.tenant,
            (row.action, row.severity) == (row.known_action, row.known_severity),
        )
        for row in rows
    )
    return tuple(GoldenTally._make((*key, number)) for key, number in sorted(found.items()))


def _hours(connection: Connection, now: float) -> tuple[HourTally, ...]:
    first = now - HOURS * HOUR_S
    # The databases do not round alike: each hour is told by its bounds.
    hour = case(
        *((decisions.c.decided_at >= first + number * HOUR_S, number) for number in range(HOURS - 1, 0, -1)),
        else_=literal(0),
    ).label("hour")
    rows = connection.execute(
        select(hour, decisions.c.tenant, func.count())
        .where(decisions.c.decided_at >= first, decisions.c.basis != Basis.BULK.value)
        .group_by("hour", decisions.c.tenant)
        .order_by("hour", decisions.c.tenant)
    )
    return tuple(HourTally(first + row[0] * HOUR_S, row[1], row[2]) for row in rows)


def _exposure(connection: Connection, now: float) -> tuple[ExposureTally, ...]:
    rows = connection.execute(
        select(decisions.c.reviewer, decisions.c.tenant, decisions.c.severity).where(
            decisions.c.decided_at > now - HOUR_S, decisions.c.basis != Basis.BULK.value
        )
    ).all()
    decided = Counter((row.reviewer, row.tenant) for row in rows)
    unsafe = Counter((row.reviewer, row.tenant) for row in rows if row.severity == "unsafe")
    return tuple(ExposureTally(*who, number, unsafe[who]) for who, number in sorted(decided.items()))


def _share(counted: Iterable[tuple[bool | None, int]]) -> CountedShare:
    hits = of = 0
    for hit, count in counted:
        of += count
        hits += count if hit else 0
    return CountedShare(hits, of)


def _sorted(found: dict[str, list[tuple[bool, int]]]) -> dict[str, CountedShare]:
    shares = {name: _share(counted) for name, counted in found.items()}
    return dict(sorted(shares.items(), key=lambda one: (-one[1].of, one[0])))
