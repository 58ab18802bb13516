"""The comparison: every rule on every engine and load, and the shipped rule with other habits. Pure."""

from __future__ import annotations

import statistics
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from in_flight.cell import LOADS, Outcome, bound_s, capacity, micro_batch_s, run
from in_flight.engines import COLD, COMPACT, CPU, FAR, FARTHER, H100, SERIAL, SLOWER, Speed
from in_flight.rules import Aimd, Fixed, Gradient, Little, LittleAged, LittleSoon, Prompts, Rule, Vegas
from in_flight.worker import Habits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEEDS = (1, 2)
BEFORE, SHIPPED = "3 micro-batches, as before", "Little's law (taken)"
RULES: dict[str, Callable[[int], Rule]] = {
    BEFORE: lambda _: Fixed(3, whole=True),
    "1 micro-batch": lambda _: Fixed(1, whole=True),
    "8 micro-batches": lambda _: Fixed(8, whole=True),
    "saturating prompts": Prompts,
    "AIMD on latency": lambda _: Aimd(),
    "gradient": lambda _: Gradient(),
    "Vegas": lambda _: Vegas(),
    SHIPPED: Little,
    "Little's law, gain 1": lambda saturating: Little(saturating, 1.0),
    "Little's law, small ones sooner": LittleSoon,
    "Little's law, sent after 10 ms": LittleAged,
}
PLACES: tuple[tuple[str, Speed, int], ...] = (
    *((speed.name, speed, 1) for speed in (H100, COMPACT, COLD, SERIAL, CPU, FAR, SLOWER, FARTHER)),
    ("H100-like, three workers", H100, 3),
)
SMALL_SHARE, LARGE = 4, 2


def habits(speed: Speed) -> dict[str, Habits]:
    """What else a worker could do, with the rule that was taken."""
    usual = Habits(speed.saturating)
    return {
        "as it ships": usual,
        "posts of similar length together": replace(usual, by_length=True),
        "quarter micro-batches": replace(usual, posts=max(1, speed.saturating // SMALL_SHARE)),
        "double micro-batches": replace(usual, posts=speed.saturating * LARGE),
        "all of a micro-batch wait for its explanations": replace(usual, at_once=False),
    }


def compared(posts: int, told: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every rule in every place."""
    found = []
    for place, speed, workers in PLACES:
        for rule, make in RULES.items():
            loads = {
                load.name: middle(
                    [
                        run(speed, load, make, posts=_posts(posts, speed), seed=seed, workers=workers)
                        for seed in SEEDS
                    ]
                )
                for load in (LOADS[:1] if speed in (SLOWER, FARTHER) else LOADS)
            }
            found.append({"place": place, "rule": rule, "loads": loads})
        told(place)
    return found


def habitual(posts: int) -> list[dict[str, Any]]:
    """The shipped rule with other habits, where they could make a difference."""
    found = []
    for speed in (H100, COMPACT, SERIAL, CPU):
        for name, one in habits(speed).items():
            loads = {
                load.name: middle(
                    [
                        run(speed, load, Little, posts=_posts(posts, speed), seed=seed, habits=one)
                        for seed in SEEDS
                    ]
                )
                for load in LOADS[:2]
            }
            found.append({"place": speed.name, "habit": name, "loads": loads})
    return found


def middle(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Medians over the seeds."""
    return {
        field.name: round(statistics.median(getattr(one, field.name) for one in outcomes), 4)
        for field in fields(Outcome)
    }


def places() -> list[dict[str, Any]]:
    """What each place is, with the bound that its posts are to keep."""
    return [
        {
            "place": place,
            **asdict(speed),
            "workers": workers,
            "posts_per_s": round(capacity(replace(speed, jump=(1.0, 0.0))), 1),
            "micro_batch_s": round(micro_batch_s(speed), 4),
            "bound_s": round(bound_s(speed), 4),
        }
        for place, speed, workers in PLACES
    ]


def _posts(posts: int, speed: Speed) -> int:
    return posts if speed.saturating > CPU.saturating else posts // 3
