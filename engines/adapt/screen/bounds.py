"""Bounds: how many of the surest rows may be wrong, as a table that falls. Pure; needs numpy and scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from sluicegate.engines.screen.features import Array
    from sluicegate.engines.screen.table import Steps

CONFIDENCE: Final = 0.95
LEAST_ROWS: Final = 30
"""Of the surest rows: without one wrong among them, the bound is 9.5 %."""
MOST_ERROR: Final = 0.2
"""A higher bound makes no step: nobody wants such an answer."""

_GROWTH = 1.2  # of the rows from one step to the next: few steps, since each is a chance to be lucky
_DIGITS = 1e6


def upper_bound(wrong: int, rows: int) -> float:
    """The Clopper-Pearson upper bound of a share, one-sided, at :data:`CONFIDENCE`."""
    return 1.0 if wrong >= rows else float(betaincinv(wrong + 1, rows - wrong, CONFIDENCE))


def steps(scores: Array, wrong: Array) -> Steps:
    """The table of one side.

    Each step's error is the bound of the rows at or above its score. A step whose bound is no lower than that of
    a step below it says nothing more, and is left out: so errors fall as scores rise.

    Args:
        scores: ``[rows]``, of held-out rows.
        wrong: ``[rows]``, whether an answer to a row would be wrong.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, wrongs = scores[order], np.cumsum(wrong[order])
    found: dict[float, float] = {}
    size = float(LEAST_ROWS)
    while size <= len(scores):
        # Up, so that what a file rounds lets no row in that was not counted; equal scores are in or out together.
        bar = float(np.ceil(sorted_scores[int(size) - 1] * _DIGITS) / _DIGITS)
        rows = int(np.searchsorted(-sorted_scores, -bar, side="right"))
        if rows >= LEAST_ROWS and bar <= 1:
            found[bar] = upper_bound(int(wrongs[rows - 1]), rows)
        size *= _GROWTH
    kept: list[tuple[float, float]] = []
    for bar, bound in sorted(found.items()):
        if bound <= (MOST_ERROR if not kept else np.nextafter(kept[-1][1], 0)):
            kept.append((bar, bound))
    return tuple(kept)
