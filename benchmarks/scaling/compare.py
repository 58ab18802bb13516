"""The comparison: every way on the same simulated days, and the chart's values in other worlds. Pure."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from scaling.contenders import FIRST, KEDA_LAG, ROUND_LAG, by_count, chart, fixed, mean_workers
from scaling.day import STEP_S, simulate
from scaling.load import Tide, arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scaling.day import Day, Way, World

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
