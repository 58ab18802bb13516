"""Rates of the live engine, from decisions whose probability of being asked for is known. Pure.

Who looks at what the policy sends to review sees the hard posts alone. Rates over all posts need a sample of all
posts, or weights of one over the probability (Horvitz and Thompson, 1952).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Z: Final = 1.959964
"""Of a normal interval of 95 %."""


class Reviewed(NamedTuple):
    """A decision beside the verdict that it is about."""

    item: str
    """Near copies are one item: of these, one counts."""
    found: int
    """Index of the severity that the verdict gave, from mild to severe."""
    decided: int
    """Index of the severity that people found."""
    probability: float
    """How likely it was that somebody would be asked, above 0 and at most 1."""
    language: str
    blind: bool


@dataclass(frozen=True, slots=True)
class PostRate:
    """A share of all posts."""

    share: float
    low: float
    high: float
    decisions: int
    """How many it rests on."""


UNKNOWN: Final = PostRate(math.nan, 0.0, 1.0, 0)


def weighted_share(weighted: Iterable[tuple[bool, float]]) -> PostRate:
    """A share by weights, with Wilson's interval of 95 % for as many decisions as the weights are worth (Kish, 1965).

    Args:
        weighted: Whether it counts, and the weight.
    """
    hits = total = squares = 0.0
    decisions = 0
    for counts, weight in weighted:
        hits += weight * counts
        total += weight
        squares += weight * weight
        decisions += 1
    if not total:
        return UNKNOWN
    share, worth = hits / total, total * total / squares
    spread = _Z * _Z / worth
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / worth + spread / (4 * worth)) / (1 + spread)
    return PostRate(share, max(0.0, middle - half), min(1.0, middle + half), decisions)


@dataclass(frozen=True, slots=True)
class EngineRates:
    """How the live engine does on all posts."""

    wrong: PostRate
    """Posts whose severity is not the one that people found."""
    missed: PostRate
    """Of the posts that people found unsafe: those that the engine called milder."""
    overdone: PostRate
    """Of the posts that people found safe: those that the engine called worse."""


def engine_rates(reviewed: Iterable[Reviewed]) -> dict[str, EngineRates]:
    """Rates of all posts, under ``all``, and by language.

    Args:
        reviewed: Of the uniform stream. Decisions that saw the verdict lean towards it: give the blind ones alone
            where there are enough.
    """
    by_language: dict[str, list[Reviewed]] = defaultdict(list)
    for one in {one.item: one for one in reviewed}.values():
        by_language[one.language].append(one)
    everything = [one for rows in by_language.values() for one in rows]
    return {"all": _rates(everything), **{name: _rates(by_language[name]) for name in sorted(by_language)}}


def _rates(rows: list[Reviewed]) -> EngineRates:
    worst = 2
    return EngineRates(
        wrong=_share(rows, lambda one: one.found != one.decided),
        missed=_share([one for one in rows if one.decided == worst], lambda one: one.found < worst),
        overdone=_share([one for one in rows if one.decided == 0], lambda one: one.found > 0),
    )


def _share(rows: list[Reviewed], counts: Callable[[Reviewed], bool]) -> PostRate:
    return weighted_share((counts(one), 1 / one.probability) for one in rows)


class Pull(NamedTuple):
    """How far seeing the verdict pulls people towards it."""

    blind: PostRate
    """Share of verdicts that were overturned by people who had not seen them."""
    shown: PostRate
    """The same of people who had."""
    difference: float
    """By how much fewer are overturned where the verdict is seen; above 0 is a pull."""
    low: float
    high: float


def pull(reviewed: Iterable[Reviewed]) -> Pull:
    """Compare blind decisions with others, by Newcombe's interval of two shares (1998, method 10).

    Args:
        reviewed: Of one way of being asked, since hard posts are overturned more often.
    """
    rows = [*reviewed]
    blind = _share([one for one in rows if one.blind], lambda one: one.found != one.decided)
    shown = _share([one for one in rows if not one.blind], lambda one: one.found != one.decided)
    difference = blind.share - shown.share
    low = difference - math.hypot(blind.share - blind.low, shown.high - shown.share)
    high = difference + math.hypot(blind.high - blind.share, shown.share - shown.low)
    return Pull(blind, shown, difference, low, high)
