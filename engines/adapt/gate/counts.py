"""Counts: what two models found of the same rows, as columns whose weighted sums give every measure. Needs numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = Any
"""A numpy array; its shape stands where it is made."""

ACTIONS: Final = ("allow", "review", "block")
"""From mild to severe; the order of every index."""

NOT_SCORED: Final = -1
"""In place of the severity found."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Rows as two models left them; every array is ``[rows]`` of integers, or ``[2, rows]`` for new and current."""

    labels: Array
    """Index of the label's severity."""
    found: Array
    """Index of the severity found; :data:`NOT_SCORED` for a failed row."""
    actions: Array
    """Index into :data:`ACTIONS`: what the policy makes of it."""
    cluster: Array
    """Rows with one number are drawn together; from 0 without gaps."""

    @property
    def compared(self) -> Array:
        """``[rows]``, boolean: both models have scores."""
        return (self.found != NOT_SCORED).all(axis=0)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number for each model."""

    name: str
    said: str
    """For people."""
    limit: str
    """Field of :class:`~sluicegate.engines.adapt.gate.limits.Part`."""
    worse: int
    """-1 if a lower value is worse, 1 if a higher one is, 0 if any change is."""
    rests_on: Callable[[Sides], Array]
    """``[rows]``, boolean: the rows that it is a share of."""
    value: Callable[[Array], Array]
    """From sums of columns ``[..., columns]`` of one model to a value ``[...]``, NaN where not defined."""


def columns(sides: Sides, side: int) -> Array:
    """``[rows, 15]``: nine pairs of label and finding, then action by whether the row is labelled safe.

    Args:
        sides: The rows.
        side: 0 for the new model, 1 for the current one.
    """
    pair = np.where(sides.compared, 3 * sides.labels + sides.found[side], 0)
    found = np.eye(9)[pair] * sides.compared[:, None]
    action = np.eye(6)[3 * (sides.labels > 0) + sides.actions[side]]
    return np.concatenate([found, action], axis=1, dtype=np.float32)


def _ratio(above: Array, below: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _macro_f1(sums: Array) -> Array:
    pairs = sums[..., :9].reshape(*sums.shape[:-1], 3, 3)
    right = np.diagonal(pairs, axis1=-2, axis2=-1)
    labels, found = pairs.sum(axis=-1), pairs.sum(axis=-2)
    f1 = _ratio(2 * right, labels + found)
    there = labels > 0
    return _ratio(np.where(there, f1, 0).sum(axis=-1), there.sum(axis=-1))


def _harmful_recall(sums: Array) -> Array:
    harmful = sums[..., 3:9]
    return _ratio(harmful[..., [1, 2, 4, 5]].sum(axis=-1), harmful.sum(axis=-1))


def _benign_false_positives(sums: Array) -> Array:
    return _ratio(sums[..., 1] + sums[..., 2], sums[..., :3].sum(axis=-1))


def _benign_blocked(sums: Array) -> Array:
    return _ratio(sums[..., 11], sums[..., 9:12].sum(axis=-1))


def _block_rate(sums: Array) -> Array:
    return _ratio(sums[..., 11] + sums[..., 14], sums[..., 9:].sum(axis=-1))


def _review_rate(sums: Array) -> Array:
    return _ratio(sums[..., 10] + sums[..., 13], sums[..., 9:].sum(axis=-1))


def _all(sides: Sides) -> Array:
    return np.ones(len(sides.labels), dtype=bool)


MEASURES: Final = (
    Measure("macro_f1", "macro-F1", "macro_f1_drop", -1, lambda sides: sides.compared, _macro_f1),
    Measure(
        "harmful_recall",
        "recall of harmful",
        "harmful_recall_drop",
        -1,
        lambda sides: sides.compared & (sides.labels > 0),
        _harmful_recall,
    ),
    Measure(
        "benign_false_positives",
        "false positives on benign",
        "benign_false_positives_rise",
        1,
        lambda sides: sides.compared & (sides.labels == 0),
        _benign_false_positives,
    ),
    Measure(
        "benign_blocked",
        "blocked of benign",
        "benign_blocked_rise",
        1,
        lambda sides: sides.labels == 0,
        _benign_blocked,
    ),
    Measure("block_rate", "block rate", "block_rate_change", 0, _all, _block_rate),
    Measure("review_rate", "review rate", "review_rate_change", 0, _all, _review_rate),
)
"""In the order of reports. The first three compare severities, the others what the policy makes of the scores."""
