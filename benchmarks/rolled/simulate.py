"""A rollout of 24 workers on virtual time: which partitions stand, for how long, and what that does to latency. Pure.

Posts come evenly to all partitions, and a worker judges a fixed number a second, those of its partitions in proportion to
what waits there. A post's latency here is its waiting alone: without a rollout it is 0. Between two steps nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEP_S = 0.25
LEAVES, STATIC, SURGE = "one leaves first", "static member", "one comes first"


@dataclass(frozen=True, slots=True)
class World:
    """What is measured or assumed, in seconds where nothing else is said."""

    drain_s: float
    """From SIGTERM to the end of the process, and a worker's pause when it gives partitions up."""
    move_s: float
    """For which a partition has no owner when it changes hands."""
    return_s: float
    """From a static member's readiness to its first record."""
    start_s: float
    """From the start of a process to its readiness, the engine's loading included."""
    session_s: float = 20.0
    pause_s: float = 0.0
    """After a worker that is ready: minReadySeconds."""
    workers: int = 24
    partitions: int = 72
    load: float = 0.7
    repeats_per_worker: float = 0.0
    """Measured, of one worker that is replaced."""


def assigned(owners: Sequence[int], members: Sequence[int]) -> list[int]:
    """Partitions to members as the cooperative-sticky assignor shares them: evenly, and as few as possible move.

    Args:
        owners: Member by partition, from before.
        members: Who is in the group now.
    """
    found = list(owners)
    held: dict[int, list[int]] = {member: [] for member in members}
    for partition, owner in enumerate(owners):
        if owner in held:
            held[owner].append(partition)
    homeless = [partition for partition, owner in enumerate(owners) if owner not in held]
    while True:
        fewest = min(held, key=lambda one: len(held[one]))
        most = max(held, key=lambda one: len(held[one]))
        if homeless:
            partition = homeless.pop(0)
        elif len(held[most]) - len(held[fewest]) > 1:
            partition = held[most].pop()
        else:
            return found
        held[fewest].append(partition)
        found[partition] = fewest


@dataclass
class Rollout:
    """One rollout in the making.

    Args:
        way: How workers are replaced.
        world: What is known.
    """

    way: str
    world: World
    now: float = 0.0
    unowned_s: float = 0.0
    """Partitions without an owner, by the time that they stood so."""
    longest_s: float = 0.0
    """Longest time that one partition was not read."""
    waits: dict[int, float] = field(default_factory=dict)
    """Posts by their waiting, in steps."""

    def __post_init__(self) -> None:
        world = self.world
        self.members = list(range(world.workers))
        self.owners = assigned([-1] * world.partitions, self.members)
        self.still_until = [0.0] * world.partitions
        self.still_since = [0.0] * world.partitions
        self.served = [0.0] * world.partitions  # posts, of one second's worth of a worker
        self.rate = world.load * world.workers / world.partitions

    def hold(self, partitions: Sequence[int], for_s: float, *, unowned_s: float = 0.0) -> None:
        """Let partitions stand from now on; at the end of it some time without an owner."""
        for one in partitions:
            if self.still_until[one] < self.now:
                self.still_since[one] = self.now
            self.still_until[one] = max(self.still_until[one], self.now + for_s + unowned_s)
            self.longest_s = max(self.longest_s, self.still_until[one] - self.still_since[one])
            self.unowned_s += unowned_s

    def share(self, members: list[int]) -> None:
        """A rebalance: what changes hands stands, and who gives up pauses until it has handed over."""
        before, self.members = self.owners, members
        self.owners = assigned(before, members)
        moved = [one for one, owner in enumerate(before) if owner != self.owners[one]]
        givers = {before[one] for one in moved} & set(members)
        self.hold([one for one, owner in enumerate(before) if owner in givers], self.world.drain_s)
        drained_s = self.world.drain_s if givers else 0.0
        self.hold(moved, drained_s, unowned_s=self.world.move_s)

    def run(self) -> Rollout:
        """Replace every worker, and wait until nothing waits any more."""
        for number in range(self.world.workers):
            for wait_s in self._replace(number, self.world.workers + number):
                self._go_on(wait_s)
            self._go_on(self.world.pause_s)
        while any(self._waiting(one) > self.rate * 2 * STEP_S for one in range(self.world.partitions)):
            self._go_on(STEP_S)
        return self

    def _replace(self, old: int, new: int) -> Iterator[float]:
        """Act, and give how long to wait before the next act."""
        world = self.world
        if self.way == SURGE:
            yield world.start_s
            self.share([*self.members, new])
            yield world.drain_s + world.move_s
        own = [one for one, owner in enumerate(self.owners) if owner == old]
        self.hold(own, world.drain_s)
        yield world.drain_s
        if self.way == STATIC:
            away_s = min(world.start_s, world.session_s)
            self.hold(own, away_s, unowned_s=0.0 if away_s < world.start_s else world.return_s)
            self.unowned_s += len(own) * away_s
            yield away_s
            if away_s == world.start_s:
                self.owners = [new if owner == old else owner for owner in self.owners]
                self.members = [new if one == old else one for one in self.members]
                return
        self.share([one for one in self.members if one != old])
        if self.way == SURGE:
            return
        yield world.start_s - (world.session_s if self.way == STATIC else 0.0)
        self.share([*self.members, new])

    def _waiting(self, partition: int) -> float:
        return self.now * self.rate - self.served[partition]

    def _go_on(self, for_s: float) -> None:
        for _ in range(round(for_s / STEP_S)):
            self.now += STEP_S
            open_ = [one for one in range(self.world.partitions) if self.still_until[one] < self.now]
            by_owner: dict[int, list[int]] = {}
            for one in open_:
                by_owner.setdefault(self.owners[one], []).append(one)
            for held in by_owner.values():
                waiting = {one: self._waiting(one) for one in held}
                all_of_it = sum(waiting.values())
                part = min(1.0, STEP_S / all_of_it) if all_of_it else 0.0
                for one, posts in waiting.items():
                    self._serve(one, posts * part)

    def _serve(self, partition: int, posts: float) -> None:
        """Take the oldest posts: they came evenly, so their places tell when."""
        left = posts
        while left > 1e-12:
            came_at = self.served[partition] / self.rate
            wait = max(0, int((self.now - came_at) / STEP_S - 1e-6))
            taken = min(left, self.rate * STEP_S)
            self.waits[wait] = self.waits.get(wait, 0.0) + taken
            self.served[partition] += taken
            left -= taken

    def p99_s(self) -> float:
        """Waiting that one post in a hundred exceeds, of those that came during the rollout."""
        left = 0.01 * sum(self.waits.values())
        for wait in sorted(self.waits, reverse=True):
            left -= self.waits[wait]
            if left < 0:
                return wait * STEP_S
        return 0.0


def figures(way: str, world: World) -> dict[str, Any]:
    """What one way costs."""
    done = Rollout(way, world).run()
    return {
        "way": way,
        "partitions": world.partitions,
        "start_s": world.start_s,
        "session_s": world.session_s,
        "took_s": round(done.now, 1),
        "unowned_partition_s": round(done.unowned_s, 1),
        "longest_s": round(done.longest_s, 2),
        "p99_added_s": round(done.p99_s(), 2),
        "repeats": round(world.repeats_per_worker * world.workers, 1),
    }
