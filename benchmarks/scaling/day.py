"""One simulated day in fixed steps: posts come, workers judge, the autoscaler looks, pods come and go. From a seed; pure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scaling.autoscaler import SYNC_S, Autoscaler, Reading, Rules
from scaling.group import Group
from shared.shares import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


DAY_S = 86_400
_MINUTE_S = 60


@dataclass(frozen=True)
class Crowd:
    """One flash crowd: up within a minute, held, then away by halves."""

    at_s: float
    hold_s: float
    height: float
    ramp_s: float = 60.0
    fading_s: float = 300.0
    """Time constant of its leaving."""

    def factor(self, second: float) -> float:
        """By how much it multiplies the posts of a moment."""
        since = second - self.at_s
        if since <= 0:
            return 1.0
        if since < self.ramp_s:
            return 1 + (self.height - 1) * since / self.ramp_s
        left = since - self.ramp_s - self.hold_s
        return 1 + (self.height - 1) * (1.0 if left <= 0 else math.exp(-left / self.fading_s))


@dataclass(frozen=True)
class Tide:
    """The calm part of a day: a sine with its trough at midnight."""

    mean: float
    """Posts a second."""
    swing: float = 0.5
    """Peak and trough lie so far above and below the mean, as a share of it."""

    def rate(self, second: float) -> float:
        """Posts a second at a moment."""
        return self.mean * (1 - self.swing * math.cos(2 * math.pi * second / DAY_S))


def crowds(rng: random.Random) -> list[Crowd]:
    """One of ten times the posts in each third of the day, held for 5 to 15 minutes."""
    part = DAY_S / 3
    return [
        Crowd((number + rng.uniform(0.05, 0.85)) * part, rng.uniform(300, 900), 10.0) for number in range(3)
    ]


def arrivals(tide: Tide, seed: int, *, step_s: int, noise: float = 0.05) -> list[float]:
    """Posts that come in each step of a day. Noise is drawn anew each minute, as a share of the rate."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    flash = crowds(rng)
    wobble = [max(0.0, rng.gauss(1.0, noise)) for _ in range(DAY_S // _MINUTE_S)]
    found = []
    for second in range(0, DAY_S, step_s):
        middle = second + step_s / 2
        height = max(crowd.factor(middle) for crowd in flash)
        found.append(tide.rate(middle) * height * wobble[second // _MINUTE_S] * step_s)
    return found


STEP_S = 5
SCRAPED_S, RATE_OVER_S = 15, 120
"""A metric of Prometheus is so old on the mean, scraped every 30 s; rates are taken over so long."""


@dataclass(frozen=True)
class World:
    """What no way of scaling can choose."""

    partitions: int = 24
    posts_per_s: float = 318.0
    """Of one worker with its engine."""
    load_s: float = 180.0
    """From a pod's creation until its engine is loaded and the group joined, give or take a tenth."""
    pause_s: float = 10.0
    """Of one rebalance."""
    eager: bool = True
    uncommitted_s: float = 2.0
    """Posts of so many seconds are judged or in work, and not yet committed: the lag counts them."""
    leave_s: float = 10.0
    """A pod that leaves holds its GPU for so long."""


@dataclass(frozen=True)
class Seen:
    """What triggers may look at."""

    lag: float
    """Posts between the end of the topic and the group's commits."""
    taken_per_s: float
    oldest_s: float


@dataclass(frozen=True)
class Way:
    """One way of scaling."""

    name: str
    least: int
    most: int
    triggers: tuple[Callable[[Seen], Reading], ...] = ()
    up: Rules | None = None
    down: Rules | None = None

    @property
    def fixed(self) -> bool:
        return not self.triggers


@dataclass
class Day:
    """What came of it, by step and in sum."""

    oldest_s: list[float] = field(default_factory=list)
    pods: list[int] = field(default_factory=list)
    gpu_hours: float = 0.0
    rebalances: int = 0
    left_over: float = 0.0
    """Posts still waiting at midnight."""

    def percentile(self, share: float) -> float:
        """Age of the oldest post that is not exceeded in this share of the day, by nearest rank."""
        return quantile(self.oldest_s, share)

    def minutes_over(self, seconds: float) -> float:
        """Minutes in which the oldest waiting post was older."""
        return sum(age > seconds for age in self.oldest_s) * STEP_S / 60


class Queue:
    """Posts that wait, by partition. Keys are even: each partition gets the same share of every step.

    What a partition has judged is told in posts of the whole topic, so that one curve of arrivals serves all.
    """

    def __init__(self, partitions: int) -> None:
        self._came = [0.0]
        self._judged = [0.0] * partitions
        self._level = True  # nobody waits
        self._oldest_step = 0

    @property
    def waiting(self) -> float:
        return 0.0 if self._level else self._came[-1] - sum(self._judged) / len(self._judged)

    def step(self, posts: float, group: Group, now: float, capacity: float) -> float:
        """Posts come and are judged for one step.

        Returns:
            How many were judged.
        """
        count = len(self._judged)
        before = self.waiting
        self._came.append(self._came[-1] + posts)
        shares = group.moving(now)
        if self._level:
            if shares is group.shares and posts * group.heaviest <= capacity * count:
                return posts
            self._judged = [self._came[-2]] * count
            self._level = False
        for held in filter(None, shares):
            self._judge(held, capacity)
        self._level = min(self._judged) >= self._came[-1] - 1e-6
        return before + posts - self.waiting

    def oldest_s(self) -> float:
        """Age of the oldest post that waits."""
        if self._level:
            self._oldest_step = len(self._came) - 1
            return 0.0
        head = min(self._judged)
        step = self._oldest_step
        while step + 1 < len(self._came) and self._came[step + 1] <= head:
            step += 1
        self._oldest_step = step
        came = self._came[step + 1] - self._came[step]
        into = (head - self._came[step]) / came if came else 0.0
        return (len(self._came) - 1 - step - into) * STEP_S

    def _judge(self, held: Sequence[int], capacity: float) -> None:
        """A worker's step: its partitions in even shares; what one does not need the others get."""
        judged, came, count = self._judged, self._came[-1], len(self._judged)
        share = capacity * count / len(held)
        if came - max(judged[one] for one in held) >= share:
            for partition in held:
                judged[partition] += share
            return
        left = capacity * count
        for done, partition in enumerate(sorted(held, key=judged.__getitem__, reverse=True)):
            served = min(came - judged[partition], left / (len(held) - done))
            left -= served
            judged[partition] += served


def simulate(arrivals: Sequence[float], way: Way, world: World, seed: int) -> Day:
    """A day of one way of scaling."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    begin = way.most if way.fixed else max(way.least, math.ceil(arrivals[0] / STEP_S / world.posts_per_s))
    group = Group.of(begin, world.partitions, pause_s=world.pause_s, eager=world.eager)
    queue, day, judged = Queue(world.partitions), Day(), [0.0]
    scaler = Autoscaler(way.up, way.down, way.least, way.most) if way.up and way.down else None
    leaving = 0
    for number, posts in enumerate(arrivals):
        now = number * STEP_S
        changed = group.admit(now)
        if scaler and number and now % SYNC_S == 0:
            readings = [trigger(_seen(queue, day, judged, world)) for trigger in way.triggers]
            wanted = scaler.decide(now, group.pods, len(group.joined), readings)
            for _ in range(wanted - group.pods):
                group.add(now + world.load_s * rng.uniform(0.9, 1.1))
            if wanted < group.pods:
                leaving += group.pods - wanted
                changed |= group.remove(group.pods - wanted)
        if changed:
            group.rebalance(now)
        judged.append(judged[-1] + queue.step(posts, group, now, world.posts_per_s * STEP_S))
        day.oldest_s.append(queue.oldest_s())
        day.pods.append(group.pods)
    day.gpu_hours = (sum(day.pods) * STEP_S + leaving * world.leave_s) / 3600
    day.rebalances, day.left_over = group.rebalances, queue.waiting
    return day


def _seen(queue: Queue, day: Day, judged: Sequence[float], world: World) -> Seen:
    old, over = SCRAPED_S // STEP_S, RATE_OVER_S // STEP_S
    end = max(0, len(judged) - 1 - old)
    start = max(0, end - over)
    return Seen(
        lag=queue.waiting + world.uncommitted_s * (judged[-1] - judged[-2]) / STEP_S,
        taken_per_s=(judged[end] - judged[start]) / ((end - start) * STEP_S) if end > start else 0.0,
        oldest_s=day.oldest_s[max(0, len(day.oldest_s) - 1 - old)],
    )
