"""The ways of scaling, on the same simulated days and in other worlds: the chart's, KEDA's by itself, and fixed numbers."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scaling.autoscaler import KUBERNETES_DOWN, KUBERNETES_UP, Reading, Rules
from scaling.day import STEP_S, Tide, Way, arrivals, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scaling.day import Day, Seen, World


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


LOAD_S = (60.0, 180.0, 300.0)
"""Seconds that an engine takes to load; the middle one is that of search and plot."""
MEAN_WORKERS = 1.5
"""What the calm part of a day asks for on the mean, in workers."""
OVER_S = 60.0

Days = dict[int, list[float]]


def days(seeds: Sequence[int], world: World, mean: float = MEAN_WORKERS) -> Days:
    """Arrivals by seed."""
    return {seed: arrivals(Tide(mean * world.posts_per_s), seed, step_s=STEP_S) for seed in seeds}


@dataclass(frozen=True)
class Range:
    """Median, least and most over the simulated days."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        return cls(*(round(one, 1) for one in (statistics.median(values), min(values), max(values))))


MEASURES: dict[str, Callable[[Day], float]] = {
    "p99_s": lambda day: day.percentile(0.99),
    "most_s": lambda day: max(day.oldest_s),
    "minutes_over": lambda day: day.minutes_over(OVER_S),
    "gpu_hours": lambda day: day.gpu_hours,
    "rebalances": lambda day: day.rebalances,
}


def row(way: Way, arrived: Days, world: World, name: str = "") -> dict[str, Any]:
    """One way in one world, over all days."""
    seen = [simulate(posts, way, world, seed) for seed, posts in arrived.items()]
    measured = {key: asdict(Range.of([take(day) for day in seen])) for key, take in MEASURES.items()}
    return {"name": name or way.name, "load_s": None if way.fixed else world.load_s, **measured}


def contenders(values: Mapping[str, Any], arrived: Days, world: World) -> list[Way]:
    """All ways, in the table's order."""
    return [
        chart(values, world, "the chart, with Prometheus", prometheus=True),
        chart(values, world, "the chart, lag alone", prometheus=False),
        chart(FIRST, world, "the chart's first values, lag alone", prometheus=False),
        by_count(KEDA_LAG, world, f"KEDA's defaults: a lag of {KEDA_LAG}"),
        by_count(ROUND_LAG, world, f"a lag of {ROUND_LAG:,}, KEDA's defaults else"),
        fixed(mean_workers(list(arrived.values()), world), "fixed, for the mean"),
        fixed(world.partitions, "fixed, for the peak"),
    ]


def compared(ways: Sequence[Way], arrived: Days, world: World) -> list[dict[str, Any]]:
    """Every way; those that scale with each time that an engine may take to load."""
    return [
        row(way, arrived, replace(world, load_s=load_s))
        for way in ways
        for load_s in (LOAD_S[:1] if way.fixed else LOAD_S)
    ]


def elsewhere(values: Mapping[str, Any], arrived: Days, world: World) -> list[dict[str, Any]]:
    """The chart's values with Prometheus, where one assumption is another."""
    half = replace(world, partitions=world.partitions // 2)
    worlds = [
        ("as assumed", world, arrived),
        ("cooperative rebalances", replace(world, eager=False), arrived),
        ("a rebalance takes 3 s", replace(world, pause_s=3.0), arrived),
        ("a rebalance takes 30 s", replace(world, pause_s=30.0), arrived),
        (f"{half.partitions} partitions, half the posts", half, days(list(arrived), half, MEAN_WORKERS / 2)),
        ("two thirds of the posts, same partitions", world, days(list(arrived), world, MEAN_WORKERS * 2 / 3)),
    ]
    return [row(chart(values, one, name, prometheus=True), posts, one, name) for name, one, posts in worlds]
