"""Raters: how often each person errs, whom the others no longer agree with, and which labels are likely wrong. Pure; needs numpy.

Nobody knows the true label. Dawid and Skene's model estimates it together with each person's errors, from votes of
several people on the same items ("Maximum likelihood estimation of observer error-rates using the EM algorithm", 1979).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sluicegate.engines.adapt.labels.agreement import (
    VALUES,
    Array,
    Interval,
    Vote,
    alpha_interval,
    counts_by_item,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_PRIOR: Final = 0.1
"""Votes that each cell of a person's table has beforehand: who voted twice is not called perfect."""
_DIAGONAL_PRIOR: Final = 1.0
"""The same where vote and truth agree: people are right more often than not, or nothing could be learnt from them."""
_STEPS: Final = 200
_STILL: Final = 1e-6
LEAST_SHARED: Final = 30
"""Items that a person has to share with others before anything is said of that person."""


@dataclass(frozen=True, slots=True)
class RaterModel:
    """What votes say of labels and of people."""

    items: tuple[str, ...]
    labels: Array
    """``[items, values]``: how likely each value is the item's true one."""
    raters: tuple[str, ...]
    confusion: Array
    """``[raters, values, values]``: by person and true value, how often that person votes for each value."""
    prior: Array
    """``[values]``: how common each value is."""

    def error_rate(self, rater: str) -> float:
        """How often a person's vote is not the true value, on items as common as these."""
        table = self.confusion[self.raters.index(rater)]
        return float(1 - (self.prior * np.diagonal(table)).sum())

    def error_rates(self) -> dict[str, float]:
        """:meth:`error_rate` of everybody."""
        return {rater: self.error_rate(rater) for rater in self.raters}


def dawid_skene(votes: Sequence[Vote], values: int = VALUES) -> RaterModel:
    """Estimate labels and people's errors together.

    Args:
        votes: At least one. Items with a single vote take what is known of their voter.
        values: How many there are.
    """
    newest = {(vote.item, vote.rater): vote.value for vote in votes}
    items = {item: at for at, item in enumerate(dict.fromkeys(item for item, _ in newest))}
    raters = {rater: at for at, rater in enumerate(sorted({rater for _, rater in newest}))}
    item_at = np.array([items[item] for item, _ in newest])
    rater_at = np.array([raters[rater] for _, rater in newest])
    voted = np.array([*newest.values()])

    labels = np.zeros((len(items), values))
    np.add.at(labels, (item_at, voted), 1)
    labels /= labels.sum(axis=1, keepdims=True)
    pseudo = np.full((values, values), _PRIOR) + np.eye(values) * (_DIAGONAL_PRIOR - _PRIOR)
    for _ in range(_STEPS):
        prior = (labels.sum(axis=0) + _PRIOR) / (len(items) + _PRIOR * values)
        confusion = np.repeat(pseudo[None], len(raters), axis=0)
        # Summed over votes: the table of each voter, by the item's likely labels and the vote.
        np.add.at(confusion.transpose(0, 2, 1), (rater_at, voted), labels[item_at])
        confusion /= confusion.sum(axis=2, keepdims=True)
        logs = np.repeat(np.log(prior)[None], len(items), axis=0)
        np.add.at(logs, item_at, np.log(confusion[rater_at, :, voted]))
        logs -= logs.max(axis=1, keepdims=True)
        found = np.exp(logs)
        found /= found.sum(axis=1, keepdims=True)
        moved = np.abs(found - labels).max()
        labels = found
        if moved < _STILL:
            break
    return RaterModel(tuple(items), labels, tuple(raters), confusion, prior)


class LikelyError(NamedTuple):
    """A label that is likely wrong, for a person to look at."""

    item: str
    label: int
    """What it says now."""
    likely: int
    """What it should likely say."""
    probability: float
    """How likely the label of now is right."""


def likely_errors(model: RaterModel, labels: dict[str, int], *, below: float = 0.5) -> list[LikelyError]:
    """Labels that the votes speak against, the least likely first.

    Args:
        model: From :func:`dawid_skene`.
        labels: By item, the label that would be trained on. Items without votes are passed over.
        below: How likely a label may be at most.
    """
    found = []
    for item, row in zip(model.items, model.labels, strict=True):
        label = labels.get(item)
        if label is not None and row[label] < below:
            found.append(LikelyError(item, label, int(row.argmax()), float(row[label])))
    return sorted(found, key=lambda one: (one.probability, one.item))


class RaterAgreement(NamedTuple):
    """How one person agrees with the others, and how these agree among themselves."""

    rater: str
    shared: int
    """Items on which others voted, too."""
    own: Interval
    """Alpha of the person's votes with the others'."""
    others: Interval
    """Alpha among the others."""

    @property
    def drifted(self) -> bool:
        """True where this person surely agrees less than the others do, by Newcombe's interval of the difference."""
        spread = math.hypot(self.own.high - self.own.value, self.others.value - self.others.low)
        return self.shared >= LEAST_SHARED and self.others.value - self.own.value > spread


def rater_agreement(votes: Sequence[Vote], *, seed: int = 0, alpha: float = 0.05) -> list[RaterAgreement]:
    """Everybody against the others, the least agreement first.

    The intervals are so wide that a team in which all err equally often has somebody called drifted in at most a share
    ``alpha`` of the periods, however many people it has.

    Args:
        votes: Of one period, such as a week, so that somebody who changed stands out.
        seed: Of the intervals.
        alpha: See above.
    """
    raters = sorted({vote.rater for vote in votes})
    confidence = 1 - alpha / max(1, len(raters))
    found = []
    for rater in raters:
        paired = _with(votes, rater)
        rest = counts_by_item([vote for vote in votes if vote.rater != rater])
        own = alpha_interval(paired, seed=seed, confidence=confidence)
        others = alpha_interval(rest, seed=seed, confidence=confidence)
        found.append(RaterAgreement(rater, len(paired), own, others))
    return sorted(found, key=lambda one: (np.nan_to_num(one.own.value, nan=2.0), one.rater))


def _with(votes: Sequence[Vote], rater: str) -> Array:
    """Of each item that one person and others voted on: that vote, and the middle one of the others', ``[items, values]``."""
    by_item: dict[str, dict[str, int]] = defaultdict(dict)
    for vote in votes:
        by_item[vote.item][vote.rater] = vote.value
    rows = []
    for voted in by_item.values():
        own = voted.pop(rater, None)
        if own is None or not voted:
            continue
        others = sorted(voted.values())
        row = [0] * VALUES
        row[own] += 1
        row[others[(len(others) - 1) // 2]] += 1
        rows.append(row)
    return np.array(rows, dtype=float).reshape(-1, VALUES)
