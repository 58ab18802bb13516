"""The block-volume breaker: when blocks are too many, a rule or a model is wrong, and the rest becomes review.

Counts what this worker judges, per tenant, over a sliding interval. What trips, trips for the tenant
and the policy in force, in every worker: facts come and go through the control topic. It stays
open until somebody resets it; another policy begins closed.
"""

from __future__ import annotations

import socket
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, TypeAlias

import structlog

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.facts import LAST_GENERATION, OTHERS, BreakerFact, Facts, Place
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy.rules import BlockBreaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_log = structlog.get_logger(__name__)

SLICES = 10
"""An interval is counted in this many steps and the one begun, so it is up to a tenth longer than it says."""
FACTS = 20_000
"""This many facts are taken in, of some 500 bytes each. People reset breakers: there are few, unless somebody floods."""
TENANTS = 4096
"""This many tenants are counted one by one, about 1 KiB each; a producer may invent more."""


class BlockInterval:
    """Posts and blocks of the last interval."""

    __slots__ = ("_slices", "blocks", "posts", "until")

    def __init__(self) -> None:
        self._slices: deque[list[int]] = deque()  # number, posts, blocks
        self.posts = self.blocks = 0
        self.until = 0.0
        """Monotonic seconds after which nothing of it counts any more."""

    def add(self, now: float, interval_s: float, *, blocked: bool) -> None:
        """Count a post, and forget what is older than the interval."""
        number = int(now / interval_s * SLICES)
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append([number, 0, 0])
        while self._slices[0][0] < number - SLICES:
            _, posts, blocks = self._slices.popleft()
            self.posts -= posts
            self.blocks -= blocks
        newest = self._slices[-1]
        newest[1] += 1
        newest[2] += blocked
        self.posts += 1
        self.blocks += blocked
        self.until = now + interval_s * (1 + 1 / SLICES)


_Intervals: TypeAlias = "OrderedDict[str, BlockInterval]"
"""By tenant; the one idle for longest comes first."""


class Breaker:
    """One per worker; called from its event loop.

    Args:
        clock: Tells when an interval is over.
        metrics: Shows which tenants' breakers are open.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._facts = Facts[BreakerFact]()
        self._counts: dict[str, _Intervals] = {}
        """By policy in force."""
        self._tried: str | None = None
        self._announce: Callable[[BreakerFact], None] = lambda _fact: None

    def announce_to(self, announce: Callable[[BreakerFact], None]) -> None:
        """Say what is told of each breaker that opens here, so that other workers learn of it."""
        self._announce = announce

    def admit(self, tenant: str, limits: BlockBreaker, policy: str, *, blocked: bool) -> BreakerFact | None:
        """Count a post that was judged; why its block must be withheld, or None.

        The block that exceeds a limit is the first one withheld.

        Args:
            tenant: Whose post it is.
            limits: Of the tenant.
            policy: Digest of the policy that decided.
            blocked: True if it decided to block.
        """
        if policy not in self._counts:
            self.use(policy)
        opened = self._open(tenant, policy)
        if opened is None and (limits.share is not None or limits.count is not None):
            opened = self._count(tenant, limits, policy, blocked=blocked)
        return opened if blocked else None

    def use(self, policy: str) -> None:
        """Name the policy in force: under another one every count begins again."""
        self._keep(policy, self._tried)

    def use_beside(self, tried: str) -> None:
        """Name the policy of a second judge. Its posts and blocks are counted apart."""
        before, self._tried = self._tried, tried
        self._keep(*(one for one in self._counts if one != before), tried)

    def _keep(self, *policies: str | None) -> None:
        kept = {one: self._counts.get(one, OrderedDict()) for one in policies if one is not None}
        if kept.keys() != self._counts.keys():
            self._counts = kept
            self._show()

    def learn(self, trips: Iterable[BreakerFact]) -> int:
        """Take in what other workers, or who reset a breaker, tell; how many of it there was no room for."""
        changed, refused = self._facts.learn(trips, most=FACTS)
        self._changed(set(changed))
        return refused

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget facts of the control topic."""
        self._changed({place for key in keys if (place := self._facts.remove(key)) is not None})

    @property
    def newest(self) -> list[BreakerFact]:
        """The newest fact on every breaker that one is known of."""
        return list(self._facts)

    @property
    def open(self) -> dict[str, BreakerFact]:
        """Tenants whose breaker is open under the policy in force."""
        return {one.tenant: one for one in self._facts if one.policy in self._counts and one.state == "open"}

    def _open(self, tenant: str, policy: str) -> BreakerFact | None:
        newest = self._facts.newest((tenant, policy))
        return newest if newest is not None and newest.state == "open" else None

    def _count(self, tenant: str, limits: BlockBreaker, policy: str, *, blocked: bool) -> BreakerFact | None:
        now, intervals = self._clock.monotonic(), self._counts[policy]
        counted = _room_for(tenant, intervals, now)
        if counted == OTHERS and (opened := self._open(OTHERS, policy)) is not None:
            return opened
        # Slices of one length and another cannot be counted together.
        row = counted if counted != OTHERS else f"{OTHERS} {limits.interval_seconds:g}"
        interval = intervals.setdefault(row, BlockInterval())
        intervals.move_to_end(row)
        interval.add(now, limits.interval_seconds, blocked=blocked)
        if not blocked or not limits.exceeded(posts=interval.posts, blocks=interval.blocks):
            return None
        return self._trip(counted, interval, limits, policy)

    def _trip(self, tenant: str, interval: BlockInterval, limits: BlockBreaker, policy: str) -> BreakerFact:
        before = self._facts.newest((tenant, policy))
        trip = BreakerFact(
            state="open",
            tenant=tenant,
            policy=policy,
            generation=min(before.generation, LAST_GENERATION) if before is not None else 0,
            at=self._clock.utc(),
            by=socket.gethostname()[:200] or "a worker",
            why=f"{interval.blocks} of {interval.posts} posts blocked in {limits.interval_seconds:g} s",
        )
        self._facts.add(trip)
        self._metrics.breaker_trips.inc()
        self._changed({trip.place})
        self._announce(trip)
        return trip

    def _changed(self, places: set[Place]) -> None:
        """Say what is now known of breakers, once for each however much was told of it."""
        if not places:
            return
        for tenant, policy in sorted(places):
            intervals = self._counts.get(policy)
            if intervals is None:
                continue
            for row in [tenant] if tenant != OTHERS else [one for one in intervals if one.startswith(OTHERS)]:
                intervals.pop(row, None)
            newest = self._facts.newest((tenant, policy))
            if newest is not None:
                _log.warning(
                    "block_breaker_tripped" if newest.state == "open" else "block_breaker_reset",
                    tenant=tenant,
                    policy=policy,
                    generation=newest.generation,
                    by=newest.by,
                    why=newest.why,
                )
        self._show()

    def _show(self) -> None:
        self._metrics.show_breakers(self.open)


def _room_for(tenant: str, intervals: _Intervals, now: float) -> str:
    """The name that a tenant is counted under: its own, or the one that all share for whom there is no room."""
    if tenant in intervals or len(intervals) < TENANTS:
        return tenant
    idle, interval = next(iter(intervals.items()))
    if now > interval.until:
        del intervals[idle]
        return tenant
    return OTHERS
