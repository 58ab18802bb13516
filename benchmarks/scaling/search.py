"""A small grid of the chart's values, and the choice among them. Pure."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.compare import chart
from scaling.day import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scaling.day import Way, World

SLACK = 0.1
"""Ages this near to the best one count as good as it."""
REBALANCE_GPU_HOURS = 1 / 60
"""Six workers, about the mean of a day, stand still for 10 s."""


def _rules(window_s: int, *policies: tuple[str, int, int]) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": window_s,
        "policies": [
            {"type": kind, "value": value, "periodSeconds": period_s} for kind, value, period_s in policies
        ],
    }


UTILISATION = 0.7
"""Not searched. With two partitions a worker or more, the fullest worker has up to 1.4 times the mean: 0.7 of that is under 1."""
UP = (
    _rules(120, ("Pods", 2, 120)),
    _rules(60, ("Percent", 100, 60)),
    _rules(0, ("Percent", 100, 60)),
    _rules(0, ("Percent", 100, 15), ("Pods", 4, 15)),
)
DOWN = (
    _rules(300, ("Percent", 100, 15)),
    _rules(600, ("Percent", 50, 300)),
    _rules(1800, ("Percent", 50, 300)),
    _rules(600, ("Pods", 1, 300)),
)


@dataclass(frozen=True)
class Outcome:
    """Medians over some days."""

    p99_s: float
    gpu_hours: float
    rebalances: float

    @property
    def price(self) -> float:
        """GPU hours, with rebalances in the same money."""
        return self.gpu_hours + self.rebalances * REBALANCE_GPU_HOURS


@dataclass(frozen=True)
class Tried:
    """One point of the grid."""

    values: dict[str, Any]
    prometheus: Outcome
    alone: Outcome
    """By lag alone, as for those who have no Prometheus: the same values ship for them."""


def grid(base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The chart's values with each combination put in."""
    for up, down in itertools.product(UP, DOWN):
        yield {**base, "utilisation": UTILISATION, "behavior": {"scaleUp": up, "scaleDown": down}}


def search(base: Mapping[str, Any], days: Mapping[int, Sequence[float]], world: World) -> list[Tried]:
    """Simulate the whole grid."""
    return [
        Tried(
            values,
            *(
                _outcome(chart(values, world, "", prometheus=prometheus), days, world)
                for prometheus in (True, False)
            ),
        )
        for values in grid(base)
    ]


def choose(tried: Sequence[Tried]) -> Tried:
    """Of those whose age with Prometheus is within a tenth of the least, the cheapest with and without it together."""
    best = min(one.prometheus.p99_s for one in tried)
    near = [one for one in tried if one.prometheus.p99_s <= best * (1 + SLACK)]
    return min(near, key=lambda one: one.prometheus.price + one.alone.price)


def _outcome(way: Way, days: Mapping[int, Sequence[float]], world: World) -> Outcome:
    seen = [simulate(posts, way, world, seed) for seed, posts in days.items()]
    return Outcome(
        round(statistics.median(day.percentile(0.99) for day in seen), 1),
        round(statistics.median(day.gpu_hours for day in seen), 1),
        statistics.median(day.rebalances for day in seen),
    )
