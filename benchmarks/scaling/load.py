"""A simulated day of posts: tides, flash crowds and a little noise. Pure, from a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

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


def crowds(rng: random.Random, count: int = 3, height: float = 10.0) -> list[Crowd]:
    """One in each of as many equal parts of the day, held for 5 to 15 minutes."""
    part = DAY_S / count
    return [
        Crowd((number + rng.uniform(0.05, 0.85)) * part, rng.uniform(300, 900), height)
        for number in range(count)
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
