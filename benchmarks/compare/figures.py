"""The arithmetic of the comparison: from times and counts to figures. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEADY = 0.1, 0.9
"""The steady part lies between these shares of the posts: before, window and engine fill; after, they run dry."""

Samples = list[tuple[float, float]]
"""A growing sum at moments in time."""


@dataclass(frozen=True, slots=True)
class Span:
    """The steady part of a cell."""

    first_s: float
    last_s: float
    posts: int
    """Answered in it."""

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.last_s - self.first_s

    @property
    def per_s(self) -> float:
        """Posts answered a second."""
        return self.posts / self.seconds


def steady(answered_at: Sequence[float]) -> Span | None:
    """The steady part of some answers, by their times; None if it has no length."""
    times = sorted(answered_at)
    if len(times) < 10:
        return None
    first, last = (round(share * (len(times) - 1)) for share in STEADY)
    return Span(times[first], times[last], last - first) if times[last] > times[first] else None


def steady_of(progress: Samples) -> Span | None:
    """The same where only the sum of the answers is known, at some moments."""
    whole = progress[-1][1] if progress else 0.0
    inside = [(at, sum_) for at, sum_ in progress if STEADY[0] * whole <= sum_ <= STEADY[1] * whole]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        return None
    (first_s, before), (last_s, after) = inside[0], inside[-1]
    return Span(first_s, last_s, round(after - before))


def at(samples: Samples, moment: float) -> float:
    """A sum at a moment, on the straight line between the samples beside it."""
    place = bisect_left(samples, (moment, float("-inf")))
    if place == 0:
        return samples[0][1]
    if place == len(samples):
        return samples[-1][1]
    (before, low), (after, high) = samples[place - 1], samples[place]
    return low + (high - low) * (moment - before) / (after - before)


def rise(samples: Samples, span: Span) -> float | None:
    """How much a sum rose in the steady part; None without samples in it or at both of its sides."""
    if len(samples) < 2 or samples[0][0] > span.last_s or samples[-1][0] < span.first_s:
        return None
    return at(samples, span.last_s) - at(samples, span.first_s)


def engine_figures(counts: Sequence[Mapping[str, float]], span: Span) -> dict[str, float]:
    """What an engine's own counts say of the steady part.

    ``wall_s_per_post`` is the whole time by the posts answered, ``saturated_s_per_post`` only that in which the
    engine was saturated: where it always was, both are the engine seconds per post.
    """
    found: dict[str, float] = {"wall_s_per_post": span.seconds / span.posts}

    def risen(name: str) -> float | None:
        return rise([(one["at_s"], one[name]) for one in counts if name in one], span)

    saturated, work, prompts = risen("saturated_s"), risen("work_s"), risen("prompts")
    tokens, cached = risen("prompt_tokens"), risen("cached_tokens")
    if saturated is not None:
        found["busy_share"] = min(1.0, saturated / span.seconds)
        found["saturated_s_per_post"] = saturated / span.posts
    if work is not None:
        found["work_share"] = work / span.seconds
        found["work_s_per_post"] = work / span.posts
    if prompts is not None:
        found["prompts_per_post"] = prompts / span.posts
    if tokens and cached is not None:
        found["cached_share"] = cached / tokens
        found["computed_tokens_per_post"] = (tokens - cached) / span.posts
        found["cached_tokens_per_post"] = cached / span.posts
    for name in ("explained", "generated_tokens"):
        if (sum_ := risen(name)) is not None:
            found[f"{name}_per_post"] = sum_ / span.posts
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over its repeats."""

    median: float
    low: float
    high: float
    repeats: int


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None of nothing."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


Done = dict[str, dict[int, dict[str, float]]]
"""The figures of a stage, by system and repeat."""


def over(done: Done, system: str, figure: str) -> Spread | None:
    """One figure of a system over its repeats."""
    return spread([one[figure] for one in done.get(system, {}).values() if figure in one])


def ratio(
    done: Done, above: str, below: str, figure: str, *, figure_below: str | None = None
) -> Spread | None:
    """One system's figure over another's, repeat by repeat, since both met the same machine then."""
    lower = figure_below or figure
    pairs = [
        (one[figure], other[lower])
        for repeat, one in done.get(above, {}).items()
        if figure in one and (other := done.get(below, {}).get(repeat, {})).get(lower)
    ]
    return spread([one / other for one, other in pairs])


def difference(done: Done, above: str, below: str, figure: str) -> Spread | None:
    """One system's figure less another's, repeat by repeat."""
    return spread(
        [
            one[figure] - done[below][repeat][figure]
            for repeat, one in done.get(above, {}).items()
            if figure in one and figure in done.get(below, {}).get(repeat, {})
        ]
    )
