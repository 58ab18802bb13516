"""Thresholds: bars on calibrated scores, at a share of false positives or at a cost. Pure; needs numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluicegate.engines.adapt.evaluate.measures import Array, MeasuredRows
from sluicegate.engines.bundle import Threshold, Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator


_STEP = 1e6  # thresholds have six digits: people write them into policies
_ROUNDING = 1e-9  # a share of exactly one in a hundred must not fail by a last bit

MEASURES: Final = {"risk": 0, "unsafe": 1}
"""Measure of a policy to the index of the highest severity that counts as a false positive."""


@dataclass(frozen=True, slots=True)
class Aims:
    """What thresholds are wanted."""

    false_positive_rates: tuple[float, ...] = ()
    costs: tuple[float, ...] = ()
    """Of a false positive, in missed rows."""

    def names(self) -> list[str]:
        """All names, such as ``risk_fpr_1``."""
        return [name for measure in MEASURES for name, _ in _named(self, measure)]


def thresholds_of(judged: MeasuredRows, aims: Aims) -> Thresholds:
    """Those that the rows can tell.

    Args:
        judged: Rows with calibrated probabilities.
        aims: Which are wanted. A share of false positives takes as many benign rows as its inverse.
    """
    found = {}
    for measure in MEASURES:
        scores, positive = sides(judged, measure)
        if positive.all() or not positive.any():
            continue
        for name, (rate, cost) in _named(aims, measure):
            value = round(cost / (1 + cost), 6) if rate is None else bar(scores, positive, rate)
            if value is not None:
                reached = scores >= value
                found[name] = Threshold.model_validate(
                    {
                        "measure": measure,
                        "value": value,
                        "false_positive_rate": float(reached[~positive].mean()),
                        "recall": float(reached[positive].mean()),
                    }
                )
    return found


def sides(judged: MeasuredRows, measure: str) -> tuple[Array, Array]:
    """Scores of a measure, and which rows it should find."""
    scores = judged.risk if measure == "risk" else judged.probabilities[:, 2]
    return scores, judged.labels > MEASURES[measure]


def bar(scores: Array, positive: Array, rate: float) -> float | None:
    """The lowest threshold with at most this share of false positives; None where the rows cannot tell it.

    Args:
        scores: ``[rows]``.
        positive: ``[rows]``, boolean.
        rate: Share of the others that may reach it.
    """
    negatives = np.sort(scores[~positive])[::-1]
    allowed = math.floor(rate * len(negatives) + _ROUNDING)
    if not 0 < allowed < len(negatives):
        return None
    over = scores[scores > negatives[allowed]]
    if not len(over):
        return None
    lowest = float(over.min())
    middle = (float(negatives[allowed]) + lowest) / 2
    return min(math.ceil(middle * _STEP) / _STEP, lowest)


def _named(aims: Aims, measure: str) -> Iterator[tuple[str, tuple[float | None, float]]]:
    for rate in aims.false_positive_rates:
        yield f"{measure}_fpr_{_digits(100 * rate)}", (rate, 0.0)
    for cost in aims.costs:
        yield f"{measure}_cost_{_digits(cost)}", (None, cost)


def _digits(value: float) -> str:
    return f"{value:g}".replace(".", "_")
