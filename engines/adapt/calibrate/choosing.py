"""Choosing: which method a group of rows gets, decided on rows that it was not fitted on. Pure; needs numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluicegate.engines.adapt.calibrate.fitting import FITS, calibrated, rejudged
from sluicegate.engines.adapt.evaluate.measures import Judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.evaluate.measures import Array
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow
    from sluicegate.engines.bundle.calibration import Mapping

FOLDS: Final = 5
INHERITED: Final = "inherited"
"""Name of what a group does without a method of its own: what is above it."""

_LEAST_PROBABILITY = 1e-12  # as in the measures


@dataclass(frozen=True, slots=True)
class Choice:
    """What a group of rows gets."""

    method: str
    mapping: Mapping
    rows: int
    """So many the mapping was fitted on."""
    losses: Array
    """``[all rows]``: log loss of each of the group's rows, by mappings fitted without its fold; elsewhere as above."""


def fold_numbers(rows: Sequence[ScoredRow], *, seed: int, folds: int = FOLDS) -> Array:
    """``[rows]``: each row's fold, by its id, or by its group's where rows belong together."""
    return np.array([_hashed(f"{seed}:{row.group or row.id}") % folds for row in rows], dtype=int)


def raw_losses(judged: Judged) -> Array:
    """``[rows]``: log loss of each row as it is."""
    at = judged.probabilities[np.arange(len(judged.labels)), judged.labels]
    return -np.log(np.maximum(at, _LEAST_PROBABILITY))


def choose(judged: Judged, folds: Array, cluster: Array, at: Array, above: Choice) -> Choice:
    """The stiffest method that a more pliant one does not surely beat.

    A method takes over if its held-out log loss is lower by more than one standard error of the difference.

    Args:
        judged: All rows.
        folds: Of each row.
        cluster: Of each row; rows of one cluster are one observation.
        at: Numbers of the group's rows.
        above: What they get without a method of their own.
    """
    best = above
    for method, fit in FITS.items():
        losses = best.losses.copy()
        for fold in np.unique(folds[at]):
            inside, outside = at[folds[at] == fold], at[folds[at] != fold]
            if len(outside):
                losses[inside] = _losses(judged, inside, fit(part(judged, outside)))
        if _surely_lower(losses[at], best.losses[at], cluster[at]):
            best = Choice(method, fit(part(judged, at)), len(at), losses)
    return best if best is not above else Choice(INHERITED, above.mapping, above.rows, above.losses)


def part(judged: Judged, at: Array) -> Judged:
    """Some of the rows."""
    return Judged(judged.labels[at], judged.probabilities[at], judged.found[at])


def _losses(judged: Judged, at: Array, mapping: Mapping) -> Array:
    some = part(judged, at)
    return raw_losses(rejudged(some, calibrated(mapping, some.probabilities)))


def _surely_lower(new: Array, old: Array, cluster: Array) -> bool:
    gain = old - new
    mean = gain.mean()
    deviations = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=gain - mean)
    return bool(mean > np.sqrt((deviations**2).sum()) / len(gain))


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6, person=b"calibrate").digest())
