"""The horizontal pod autoscaler's arithmetic, as Kubernetes documents it and its controller does it. Pure.

Each metric proposes a number; the highest counts. Recommendations are then steadied: up to the least of the window
for scaling up, down to the most of that for scaling down. Last, the policies bound the change within their periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYNC_S = 15
"""`--horizontal-pod-autoscaler-sync-period`, by default."""
TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance`, by default."""


@dataclass(frozen=True)
class Policy:
    """At most so many pods, or so many percent, within a period."""

    type: str
    value: int
    period_s: int


@dataclass(frozen=True)
class Rules:
    """One direction of `behavior`; `selectPolicy` is `Max`, its default."""

    window_s: int
    policies: tuple[Policy, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Rules:
        """As `scaleUp` and `scaleDown` are written in YAML."""
        return cls(
            values["stabilizationWindowSeconds"],
            tuple(Policy(one["type"], one["value"], one["periodSeconds"]) for one in values["policies"]),
        )


KUBERNETES_UP = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
KUBERNETES_DOWN = Rules(300, (Policy("Percent", 100, 15),))
"""What holds where no `behavior` is given."""


@dataclass(frozen=True)
class Reading:
    """A metric, as it is read now."""

    value: float
    target: float
    per_pod: bool
    """`AverageValue`: the target is for each pod. Else `Value`: for the whole, and the ready pods are multiplied."""

    def wants(self, replicas: int, ready: int) -> int:
        """Replicas that this metric alone proposes."""
        ratio = self.value / self.target / (replicas if self.per_pod else 1)
        if abs(ratio - 1) <= TOLERANCE:
            return replicas
        return math.ceil(self.value / self.target * (1 if self.per_pod else ready))


@dataclass
class Autoscaler:
    """Remembers what it recommended and did, as far back as its rules look."""

    up: Rules
    down: Rules
    least: int
    most: int
    _recommended: list[tuple[int, int]] = field(default_factory=list)
    _changes: list[tuple[int, int]] = field(default_factory=list)

    def decide(self, now: int, replicas: int, ready: int, readings: Sequence[Reading]) -> int:
        """How many replicas there shall be from now on."""
        wanted = max(one.wants(replicas, ready) for one in readings)
        if not self._recommended:
            self._recommended.append((now, replicas))  # the controller begins with what it finds
        steadied = self._steadied(now, replicas, wanted)
        self._recommended.append((now, wanted))
        decided = min(self.most, max(self.least, self._bounded(now, replicas, steadied)))
        if decided != replicas:
            self._changes.append((now, decided - replicas))
        self._forget(now)
        return decided

    def _steadied(self, now: int, replicas: int, wanted: int) -> int:
        lowest = min(self._within(self._recommended, now, self.up.window_s), default=wanted)
        highest = max(self._within(self._recommended, now, self.down.window_s), default=wanted)
        return min(max(replicas, min(wanted, lowest)), max(wanted, highest))

    def _bounded(self, now: int, replicas: int, wanted: int) -> int:
        if wanted > replicas:
            limits = [self._limit(now, replicas, one, 1) for one in self.up.policies]
            return min(wanted, max(replicas, *limits))
        if wanted < replicas:
            limits = [self._limit(now, replicas, one, -1) for one in self.down.policies]
            return max(wanted, min(replicas, *limits))
        return replicas

    def _limit(self, now: int, replicas: int, policy: Policy, sign: int) -> int:
        start = replicas - sum(self._within(self._changes, now, policy.period_s))
        if policy.type == "Pods":
            return start + sign * policy.value
        changed = start * (1 + sign * policy.value / 100)
        return math.ceil(changed) if sign > 0 else int(changed)

    @staticmethod
    def _within(stamped: Sequence[tuple[int, int]], now: int, window_s: int) -> list[int]:
        found = []
        for at, value in reversed(stamped):
            if at <= now - window_s:
                break
            found.append(value)
        return found

    def _forget(self, now: int) -> None:
        longest = max(self.up.window_s, self.down.window_s)
        while self._recommended and self._recommended[0][0] <= now - longest - SYNC_S:
            del self._recommended[0]
