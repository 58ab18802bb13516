"""Ways of scaling that are compared: what the chart ships, what KEDA does by itself, and fixed numbers. Pure but for one file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scaling.autoscaler import KUBERNETES_DOWN, KUBERNETES_UP, Reading, Rules
from scaling.day import STEP_S, Way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scaling.day import Seen, World

VALUES = Path(__file__).resolve().parents[2] / "helm" / "sluicegate" / "values.yaml"
USED = ("lagSeconds", "oldestPostSeconds", "utilisation", "minReplicas", "behavior")
"""Keys of `autoscaling` that a simulated day depends on."""
FIRST = {
    "lagSeconds": 30,
    "oldestPostSeconds": 60,
    "minReplicas": 1,
    "behavior": {
        "scaleUp": {
            "stabilizationWindowSeconds": 120,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 120}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 600,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
        },
    },
}
"""The chart's first values, which were chosen and not simulated."""
KEDA_LAG = 10
"""`lagThreshold` of KEDA's Kafka scaler, by default."""
ROUND_LAG = 5_000
"""What somebody may write in its stead."""


def shipped(path: Path = VALUES) -> dict[str, Any]:
    """What the chart ships, as far as it is simulated."""
    autoscaling = yaml.safe_load(path.read_text(encoding="utf-8"))["autoscaling"]
    return {key: autoscaling[key] for key in USED if key in autoscaling}


@dataclass(frozen=True)
class Lag:
    """KEDA's trigger `kafka`: the group's lag over a number of posts for each pod, at most one pod a partition."""

    posts: float
    partitions: int

    def __call__(self, seen: Seen) -> Reading:
        lag = seen.lag if seen.lag / self.posts <= self.partitions else self.partitions * self.posts
        return Reading(lag, self.posts, per_pod=True)


@dataclass(frozen=True)
class Oldest:
    """The trigger `prometheus` on the age of the oldest post, `metricType: Value`."""

    seconds: float

    def __call__(self, seen: Seen) -> Reading:
        return Reading(seen.oldest_s, self.seconds, per_pod=False)


@dataclass(frozen=True)
class Taken:
    """The trigger `prometheus` on the posts that workers take a second, `metricType: AverageValue`."""

    per_s: float

    def __call__(self, seen: Seen) -> Reading:
        return Reading(seen.taken_per_s, self.per_s, per_pod=True)


def chart(values: Mapping[str, Any], world: World, name: str, *, prometheus: bool) -> Way:
    """What the chart's ScaledObject does with these values."""
    triggers: list[Any] = [Lag(math.ceil(world.posts_per_s * values["lagSeconds"]), world.partitions)]
    if prometheus:
        triggers.append(Oldest(values["oldestPostSeconds"]))
        if values.get("utilisation"):
            triggers.append(Taken(world.posts_per_s * values["utilisation"]))
    behavior = values["behavior"]
    return Way(
        name,
        values["minReplicas"],
        world.partitions,
        tuple(triggers),
        Rules.of(behavior["scaleUp"]),
        Rules.of(behavior["scaleDown"]),
    )


def by_count(lag: int, world: World, name: str) -> Way:
    """KEDA's Kafka scaler with Kubernetes' own behaviour."""
    return Way(name, 1, world.partitions, (Lag(lag, world.partitions),), KUBERNETES_UP, KUBERNETES_DOWN)


def fixed(workers: int, name: str) -> Way:
    """Always the same number."""
    return Way(name, workers, workers)


def mean_workers(days: Sequence[Sequence[float]], world: World) -> int:
    """Workers that would do if posts came evenly."""
    posts = sum(map(sum, days))
    return math.ceil(posts / (sum(map(len, days)) * STEP_S) / world.posts_per_s)
