"""Fitting: a temperature, or two lines that never fall, from scores and their labels; and which of them a group gets.

Thresholds are bars on what comes out of it, at a share of false positives or at a cost. Pure; needs numpy.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluicegate.engines.adapt.evaluate.measures import Array, MeasuredRows, likeliest, log_loss
from sluicegate.engines.adapt.evaluate.scored import ScoredRow
from sluicegate.engines.bundle import Isotonic, Knot, Mapping, Temperature, Threshold, Thresholds
from sluicegate.schemas import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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


_LOWEST, _HIGHEST = 0.05, 20.0  # temperatures that a calibration may hold
_STEPS = 25  # each takes 38 % off the span: the last is far below what rows can tell
_GOLDEN = (math.sqrt(5) - 1) / 2
_BINS = 100  # of equal mass: more would follow single rows
_END = 0.1  # of the way from the outermost knots to certainty: enough to keep the order there


def fit_temperature(judged: MeasuredRows) -> Temperature:
    """The temperature of the least log loss: one number, which a few dozen rows can tell."""
    whole = np.ones((1, len(judged.labels)))
    odds = judged.probabilities / judged.probabilities.max(axis=1, keepdims=True)

    def loss(logarithm: float) -> float:
        weights = odds ** math.exp(-logarithm)
        cooled = weights / weights.sum(axis=1, keepdims=True)
        return float(log_loss(MeasuredRows(judged.labels, cooled, judged.found), whole)[0])

    # In 1/temperature the loss is convex, so there is one valley.
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return Temperature(temperature=min(max(math.exp((low + high) / 2), _LOWEST), _HIGHEST))


def fit_isotonic(judged: MeasuredRows) -> Isotonic:
    """The two lines of the least squared error: P(not safe), and P(unsafe) among what is not safe."""
    risk = np.minimum(judged.risk, 1.0)
    harmful = judged.labels > 0
    unsafe = np.divide(judged.probabilities[:, 2], risk, out=np.zeros(len(risk)), where=risk > 0)
    return Isotonic(
        risk=_line(risk, harmful), unsafe=_line(np.minimum(unsafe, 1.0)[harmful], judged.labels[harmful] == 2)
    )


FITS: Final[dict[str, Callable[[MeasuredRows], Mapping]]] = {
    "temperature": fit_temperature,
    "isotonic": fit_isotonic,
}
"""The methods, from the stiffest to the most pliant."""


def calibrated(mapping: Mapping, probabilities: Array) -> Array:
    """Probabilities ``[rows, 3]`` as a worker would calibrate them, by the very same code."""
    found = [
        mapping.apply(Scores(safe=safe, controversial=controversial, unsafe=unsafe))
        for safe, controversial, unsafe in probabilities.tolist()
    ]
    return np.array([(one.safe, one.controversial, one.unsafe) for one in found]).reshape(-1, 3)


def rejudged(judged: MeasuredRows, probabilities: Array) -> MeasuredRows:
    """The rows with other probabilities."""
    return MeasuredRows(judged.labels, probabilities, likeliest(probabilities))


def _line(raw: Array, hits: Array) -> tuple[Knot, ...]:
    """Knots of the pooled adjacent violators: each where a pool has its mean, so that the line rises between them.

    A hit is added below all rows and a miss above: nothing is ever said for certain.
    """
    if not len(raw):
        return ((0.0, 0.0), (1.0, 1.0))
    pools: list[Array] = []
    for pool in _bins(raw, hits):
        pools.append(pool)
        while len(pools) > 1 and _mean(pools[-2]) >= _mean(pools[-1]):
            pools.append(pools.pop() + pools.pop())
    knots = [(float(total / rows), float(hit / weight)) for rows, total, weight, hit in pools]
    first, last = knots[0], knots[-1]
    if first[0] > 0:
        knots.insert(0, (0.0, first[1] * (1 - _END)))
    if last[0] < 1:
        knots.append((1.0, last[1] + (1 - last[1]) * _END))
    return tuple(knots)


def _bins(raw: Array, hits: Array) -> Array:
    """Rows in bins of about equal mass, equal values together: rows, sum of values, weight and hits of each."""
    values, inverse, counts = np.unique(raw, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    place = np.floor(_BINS * middle / len(raw)).astype(int)
    rows = np.bincount(place, weights=counts)
    total = np.bincount(place, weights=values * counts)
    hit = np.bincount(place, weights=np.bincount(inverse, weights=hits))
    there = rows > 0
    bins = np.stack([rows, total, rows, hit], axis=1)[there]
    bins[0, 2:] += 1
    bins[-1, 2] += 1
    return bins


def _mean(pool: Array) -> float:
    return float(pool[3] / pool[2])


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


def raw_losses(judged: MeasuredRows) -> Array:
    """``[rows]``: log loss of each row as it is."""
    at = judged.probabilities[np.arange(len(judged.labels)), judged.labels]
    return -np.log(np.maximum(at, _LEAST_PROBABILITY))


def choose(judged: MeasuredRows, folds: Array, cluster: Array, at: Array, above: Choice) -> Choice:
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


def part(judged: MeasuredRows, at: Array) -> MeasuredRows:
    """Some of the rows."""
    return MeasuredRows(judged.labels[at], judged.probabilities[at], judged.found[at])


def _losses(judged: MeasuredRows, at: Array, mapping: Mapping) -> Array:
    some = part(judged, at)
    return raw_losses(rejudged(some, calibrated(mapping, some.probabilities)))


def _surely_lower(new: Array, old: Array, cluster: Array) -> bool:
    gain = old - new
    mean = gain.mean()
    deviations = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=gain - mean)
    return bool(mean > np.sqrt((deviations**2).sum()) / len(gain))


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6, person=b"calibrate").digest())
