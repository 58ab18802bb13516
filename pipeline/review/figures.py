"""Figures of the queues. To count a million cases takes a second, so a page shows the last count, and never waits for one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select

from sluicegate.pipeline.review.store import OPEN_STATES, ReviewStore
from sluicegate.pipeline.review.tables import cases

_FRESH_S = 2.0
_SHARE = 20  # counting takes at most one part in so many of the time


class QueueSize(NamedTuple):
    """One queue."""

    tenant: str
    language: str
    state: str
    breaker: bool
    size: int
    due_at: float
    """Unix seconds by which its first case is due."""


@dataclass(frozen=True, slots=True)
class CountedQueues:
    """What was counted, and when."""

    queues: tuple[QueueSize, ...]
    at: float
    """Monotonic seconds."""
    took_s: float

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


class QueueFigures:
    """Counts what waits. Thread-safe; one thread counts at a time.

    Args:
        store: What is counted.
    """

    def __init__(self, store: ReviewStore) -> None:
        self._store = store
        self._counted: CountedQueues | None = None
        self._counting = threading.Lock()

    def current(self) -> CountedQueues:
        """The last count. One that is old is shown once more, while another is made."""
        counted = self._counted
        if counted is None:
            return self._count()
        age_s = time.monotonic() - counted.at
        if age_s > max(_FRESH_S, _SHARE * counted.took_s) and self._counting.acquire(blocking=False):
            threading.Thread(target=self._count_beside, name="review-figures", daemon=True).start()
        return counted

    def _count_beside(self) -> None:
        try:
            self._count()
        finally:
            self._counting.release()

    def _count(self) -> CountedQueues:
        began = time.monotonic()
        with self._store.reading() as connection:
            rows = connection.execute(
                select(
                    cases.c.tenant,
                    cases.c.language,
                    cases.c.state,
                    cases.c.breaker,
                    func.count(),
                    func.min(cases.c.due_at),
                )
                .where(cases.c.state.in_(OPEN_STATES))
                .group_by(cases.c.tenant, cases.c.language, cases.c.state, cases.c.breaker)
                .order_by(cases.c.tenant, cases.c.language, cases.c.breaker)
            ).all()
        now = time.monotonic()
        self._counted = CountedQueues(tuple(QueueSize(*row) for row in rows), now, now - began)
        return self._counted
