"""Arrivals: when each post comes, fixed before the first one is sent. Pure.

An open loop: a post comes when its time has come, however long the last one waits, and its latency
counts from that time. A closed loop, or one that counts from when it got round to sending, leaves
out just those posts that had to wait ("coordinated omission").
"""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.pipeline.errors import BenchError

MOST_POSTS = 2_000_000
"""Of one run: what is remembered of each post takes 28 bytes, so 56 MB."""

_FLOOD = (1 / 3, 2 / 3)
_FLOOD_SHARE = 0.75  # of the posts in that time
_PEAKS = {"constant": 1.0, "diurnal": 1.8, "burst": 5.0, "flood": 2.0}


class Shape(StrEnum):
    """How the rate moves over a run; its mean is the rate asked for."""

    CONSTANT = "constant"
    """The same all the time."""
    DIURNAL = "diurnal"
    """A day pressed into the run: from a fifth of the rate at night to nine fifths at noon."""
    BURST = "burst"
    """Ten bursts of five times the rate, each for a hundredth of the run; five ninths between them."""
    FLOOD = "flood"
    """Half the rate; in the middle third twice the rate, three in four of them copies of one text."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The plan of a run."""

    shape: Shape
    rate: float
    """Posts a second, in the mean."""
    seed: int
    at_s: array[float]
    """Seconds from the start of the run, growing."""
    copied: bytearray
    """1 for each post that is a copy of the flood's text."""

    @property
    def duration_s(self) -> float:
        """How long posts come."""
        return len(self.at_s) / self.rate


def plan_arrivals(
    shape: Shape, *, rate: float, duration_s: float, seed: int, posts: int | None = None
) -> Arrivals:
    """Fix all arrivals of a run.

    They are those of a Poisson process of the shape's rate, given their number: independent draws
    from the shape, sorted. Equal arguments give equal arrivals.

    Args:
        shape: How the rate moves.
        rate: Posts a second, in the mean.
        duration_s: How long posts come.
        seed: Of the draws.
        posts: Fewer than the rate gives in that time; the run is then as much shorter.

    Raises:
        BenchError: That would be more posts than a run may have, or none.
    """
    count = min(round(rate * duration_s), MOST_POSTS + 1 if posts is None else posts)
    if not 0 < count <= MOST_POSTS:
        raise BenchError(
            f"{rate:g} posts/s for {duration_s:g} s are {round(rate * duration_s):,}, and a run has 1 to "
            f"{MOST_POSTS:,}; change --rate or --duration, or give --posts"
        )
    rng = random.Random(seed)  # noqa: S311 - a seed makes a run repeatable
    places = sorted(_draw(shape, rng) for _ in range(count))
    copied = bytearray(
        shape is Shape.FLOOD and _FLOOD[0] <= place < _FLOOD[1] and rng.random() < _FLOOD_SHARE
        for place in places
    )
    span_s = count / rate
    return Arrivals(shape, rate, seed, array("d", [place * span_s for place in places]), copied)


def level(shape: Shape, place: float) -> float:
    """The rate at a place of the run, from 0 to 1, over its mean."""
    if shape is Shape.DIURNAL:
        return 1 - 0.8 * math.cos(2 * math.pi * place)
    if shape is Shape.BURST:
        return 5.0 if 0.45 <= (place * 10) % 1 < 0.55 else 5 / 9
    if shape is Shape.FLOOD:
        return 2.0 if _FLOOD[0] <= place < _FLOOD[1] else 0.5
    return 1.0


def _draw(shape: Shape, rng: random.Random) -> float:
    while True:
        place = rng.random()
        if rng.random() * _PEAKS[shape] < level(shape, place):
            return place
