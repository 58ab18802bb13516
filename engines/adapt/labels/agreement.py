"""Agreement between people who voted on the same items: Krippendorff's alpha and Gwet's AC1. Pure; needs numpy.

Alpha compares the disagreement that was seen with the one that shuffled votes would have. It counts a vote of unsafe
against one of safe as more than a vote of controversial, but it falls on skewed data, although everybody agrees. AC1
does not. So both are shown, and neither alone.

Sources: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), for the coincidences and the ordinal
difference; Gwet, "Computing inter-rater reliability and its variance in the presence of high agreement" (2008), for AC1
with votes missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Array: TypeAlias = Any
"""A numpy array; its shape stands where it is made."""

VALUES: Final = 3
"""Safe, controversial, unsafe: 0 to 2, from mild to severe."""
RESAMPLES: Final = 1_000
"""Of items, for an interval. Its ends then move by less than a twentieth of its width from seed to seed."""


class Vote(NamedTuple):
    """What one person said of one item. A person has one vote on an item: the last one counts."""

    item: str
    """What was judged. Near copies are one item, since one decision was made for all of them."""
    rater: str
    value: int
    """Index of the severity, from mild to severe."""


def counts_by_item(votes: Iterable[Vote], values: int = VALUES) -> Array:
    """Votes for each value, ``[items, values]``. Items stand in the order of their first votes."""
    newest = {(vote.item, vote.rater): vote.value for vote in votes}
    items: dict[str, Counter[int]] = defaultdict(Counter)
    for (item, _), value in newest.items():
        items[item][value] += 1
    return np.array([[one[value] for value in range(values)] for one in items.values()], dtype=float).reshape(
        -1, values
    )


def alpha(counts: Array) -> float:
    """Krippendorff's alpha with the ordinal difference; NaN where nothing can be compared, or all votes are equal.

    1 is agreement, 0 is what shuffled votes give, and less is worse than chance.

    Args:
        counts: ``[items, values]``, from :func:`counts_by_item`. An item with one vote says nothing.
    """
    return float(_alpha(_coincidences(counts).sum(axis=0)[None])[0])


def ac1(counts: Array) -> float:
    """Gwet's AC1; NaN where no item has two votes.

    Args:
        counts: ``[items, values]``, from :func:`counts_by_item`. An item with one vote counts for chance alone, as
            Gwet has it.
    """
    return float(_ac1(_ac1_terms(counts).sum(axis=0)[None])[0])


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, and between which bounds it may really be."""

    value: float
    low: float
    high: float


def alpha_interval(counts: Array, *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """:func:`alpha` with an interval from items drawn again.

    Args:
        counts: ``[items, values]``.
        seed: Equal seeds give equal intervals.
        confidence: How often such intervals hold the true value.
    """
    return _interval(counts, _coincidences, _alpha, seed, confidence)


def ac1_interval(counts: Array, *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """:func:`ac1` with an interval from items drawn again.

    Args:
        counts: ``[items, values]``.
        seed: Equal seeds give equal intervals.
        confidence: How often such intervals hold the true value.
    """
    return _interval(counts, _ac1_terms, _ac1, seed, confidence)


def _coincidences(counts: Array) -> Array:
    """``[items, values, values]``: pairs of votes of an item, so weighted that each vote counts once."""
    votes = counts.sum(axis=1)
    paired = votes >= 2
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(counts.shape[1]) * counts[:, :, None]
    weights = np.where(paired, 1 / np.where(paired, votes - 1, 1), 0)
    return pairs * weights[:, None, None]


def _alpha(sums: Array) -> Array:
    """From summed coincidences ``[resamples, values, values]`` to ``[resamples]``."""
    totals = sums.sum(axis=2)
    votes = totals.sum(axis=1)
    below = np.cumsum(totals, axis=1) - totals / 2  # of each value: votes below it, and half of its own
    difference = (below[:, :, None] - below[:, None, :]) ** 2
    seen = (sums * difference).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * difference).sum(axis=(1, 2))
    defined = expected > 0
    return np.where(defined, 1 - (votes - 1) * seen / np.where(defined, expected, 1), np.nan)


def _ac1_terms(counts: Array) -> Array:
    """``[items, 2 + values + 1]``: agreement, items with two votes, shares of each value, items with a vote."""
    votes = counts.sum(axis=1)
    paired = votes >= 2
    agreed = (counts * (counts - 1)).sum(axis=1) / np.where(paired, votes * (votes - 1), 1)
    shares = counts / np.where(votes > 0, votes, 1)[:, None]
    return np.column_stack([np.where(paired, agreed, 0), paired, shares, votes > 0])


def _ac1(sums: Array) -> Array:
    agreed, paired, items = sums[:, 0], sums[:, 1], sums[:, -1]
    shares = sums[:, 2:-1] / np.where(items > 0, items, 1)[:, None]
    chance = (shares * (1 - shares)).sum(axis=1) / (shares.shape[1] - 1)
    defined = paired > 0
    return np.where(defined, (agreed / np.where(defined, paired, 1) - chance) / (1 - chance), np.nan)


def _interval(
    counts: Array,
    terms: Callable[[Array], Array],
    value: Callable[[Array], Array],
    seed: int,
    confidence: float,
) -> Interval:
    found = float(value(terms(counts).sum(axis=0)[None])[0])
    if not len(counts):
        return Interval(found, float("nan"), float("nan"))
    # Items with equal votes are drawn together: how often each kind of item comes is all that matters.
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    each = terms(kinds)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(counts), times / len(counts), size=RESAMPLES)
    sums = drawn @ each.reshape(len(kinds), -1)
    values = value(sums.reshape(RESAMPLES, *each.shape[1:]))
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(found, float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(found, float(low), float(high))
