"""Measures of probabilities against labels, for one or many weightings of the same rows. Pure; needs numpy.

Every measure takes weights ``[resamples, rows]`` and gives one number a resample, NaN where it is not defined:
an interval is the same arithmetic as the value, on rows drawn again. Labels and findings are indices into
:data:`~sluicegate.engines.adapt.evaluate.scored.SEVERITIES`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


Array: TypeAlias = Any
"""A numpy array; its shape stands where it is made."""

BINS: Final = 15
"""Of the calibration error: bins of equal mass, from the least to the most confident rows."""

_LEAST_PROBABILITY = 1e-12  # an engine's zero is a rounded one; a logarithm needs something
_ROUNDING = 1e-12  # a share of exactly one in a hundred must not fail by a last bit


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """Rows with probabilities, as arrays: a failed row is none of them."""

    labels: Array
    """``[rows]``, integers."""
    probabilities: Array
    """``[rows, 3]``."""
    found: Array
    """``[rows]``, integers: the likeliest severity, a tie going to the more severe."""

    @classmethod
    def of(cls, rows: Sequence[ScoredRow]) -> MeasuredRows:
        """The rows that have probabilities, in their order."""
        judged = [row for row in rows if row.probabilities is not None]
        probabilities = np.array([row.probabilities for row in judged], dtype=float).reshape(-1, 3)
        labels = np.array([SEVERITIES.index(row.severity) for row in judged], dtype=int)
        return cls(labels, probabilities, likeliest(probabilities))

    @property
    def risk(self) -> Array:
        """``[rows]``: probability of not being safe."""
        return self.probabilities[:, 1] + self.probabilities[:, 2]


def likeliest(probabilities: Array) -> Array:
    """Index of the likeliest severity, a tie going to the more severe: ``[rows]``."""
    if not len(probabilities):
        return np.zeros(0, dtype=int)
    return 2 - np.argmax(probabilities[:, ::-1], axis=1)


def _share(weights: Array, hits: Array) -> Array:
    """Weighted share of the rows that are hits."""
    return _ratio(weights @ hits.astype(float), weights.sum(axis=1))


def _ratio(above: Array, below: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def accuracy(judged: MeasuredRows, weights: Array) -> Array:
    """Share of rows whose likeliest severity is the label's."""
    return _share(weights, judged.found == judged.labels)


def _f1(weights: Array, labelled: Array, found: Array) -> Array:
    """F1 of a class; not defined where no row has the label."""
    labels = weights @ labelled.astype(float)
    score = _ratio(2 * (weights @ (labelled & found).astype(float)), labels + weights @ found.astype(float))
    return np.where(labels > 0, score, np.nan)


def macro_f1(judged: MeasuredRows, weights: Array) -> Array:
    """Mean F1 of the severities that occur among the labels."""
    each = np.stack([_f1(weights, judged.labels == one, judged.found == one) for one in range(3)])
    there = ~np.isnan(each)
    return _ratio(np.where(there, each, 0).sum(axis=0), there.sum(axis=0))


def strict_f1(judged: MeasuredRows, weights: Array) -> Array:
    """F1 of harmful, controversial counted as harmful."""
    return _f1(weights, judged.labels > 0, judged.found > 0)


def loose_f1(judged: MeasuredRows, weights: Array) -> Array:
    """F1 of harmful, controversial counted as safe."""
    return _f1(weights, judged.labels == 2, judged.found == 2)


def false_positives(judged: MeasuredRows, weights: Array) -> Array:
    """Share of the rows labelled safe that are found controversial or unsafe: over-blocking."""
    return _share(weights * (judged.labels == 0), judged.found > 0)


def false_unsafe(judged: MeasuredRows, weights: Array) -> Array:
    """Share of the rows labelled safe that are found unsafe."""
    return _share(weights * (judged.labels == 0), judged.found == 2)


def harmful_found(judged: MeasuredRows, weights: Array) -> Array:
    """Share of the rows labelled controversial or unsafe that are found either."""
    return _share(weights * (judged.labels > 0), judged.found > 0)


def _steps(scores: Array, positive: Array, weights: Array) -> tuple[Array, Array]:
    """Weight of positive and of negative rows at each distinct score, from the lowest: ``[resamples, scores]``."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    positives = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    negatives = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    return positives, negatives


def auroc(scores: Array, positive: Array, weights: Array) -> Array:
    """Probability that a positive row scores above a negative one, ties counted half.

    Args:
        scores: ``[rows]``.
        positive: ``[rows]``, boolean.
        weights: ``[resamples, rows]``.
    """
    if not len(scores):
        return np.full(len(weights), np.nan)
    positives, negatives = _steps(scores, positive, weights)
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return _ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def recall_at(scores: Array, positive: Array, weights: Array, limit: float) -> Array:
    """Share of positive rows at the lowest threshold whose share of false positives is within a limit.

    A row is found from the threshold on, so that equal scores are found together. No threshold may be
    within the limit; then nothing is found.
    """
    if not len(scores):
        return np.full(len(weights), np.nan)
    positives, negatives = (np.cumsum(one[:, ::-1], axis=1) for one in _steps(scores, positive, weights))
    wrong = _ratio(negatives, negatives[:, -1:])
    within = (wrong <= limit + _ROUNDING).sum(axis=1)
    reached = np.take_along_axis(positives, np.maximum(within - 1, 0)[:, None], axis=1)[:, 0]
    found = _ratio(np.where(within > 0, reached, 0), positives[:, -1])
    return np.where(negatives[:, -1] > 0, found, np.nan)


def auroc_safe(judged: MeasuredRows, weights: Array) -> Array:
    """AUROC of the probability of not being safe, against rows labelled safe."""
    return auroc(judged.risk, judged.labels > 0, weights)


def auroc_unsafe(judged: MeasuredRows, weights: Array) -> Array:
    """AUROC of the probability of being unsafe, against all other rows."""
    return auroc(judged.probabilities[:, 2], judged.labels == 2, weights)


def recall_1_percent(judged: MeasuredRows, weights: Array) -> Array:
    """Recall of harmful rows with 1 % of the safe ones found harmful, by the probability of not being safe."""
    return recall_at(judged.risk, judged.labels > 0, weights, 0.01)


def recall_5_percent(judged: MeasuredRows, weights: Array) -> Array:
    """The same with 5 %."""
    return recall_at(judged.risk, judged.labels > 0, weights, 0.05)


def bins(confidences: Array, hits: Array, weights: Array, count: int = BINS) -> tuple[Array, Array, Array]:
    """Rows in bins of equal mass by their confidence.

    Returns:
        Weight, mean confidence and share of hits of each bin, ``[resamples, count]`` each; NaN for an empty bin.
    """
    order = np.argsort(confidences, kind="stable")
    ordered = weights[:, order].astype(float)
    middle = np.cumsum(ordered, axis=1) - ordered / 2
    total = ordered.sum(axis=1, keepdims=True)
    place = np.clip(np.floor(count * _ratio(middle, total)), 0, count - 1)
    sums = []
    for values in (np.ones(len(order)), confidences[order], hits[order].astype(float)):
        weighted = ordered * values
        sums.append(np.stack([(weighted * (place == one)).sum(axis=1) for one in range(count)], axis=1))
    mass, confident, hit = sums
    return mass, _ratio(confident, mass), _ratio(hit, mass)


def calibration_error(judged: MeasuredRows, weights: Array) -> Array:
    """Expected calibration error of the likeliest severity.

    Mean over :data:`BINS` bins of equal mass of the distance between the share of rows found right and the mean
    probability of the severity found, each bin with its weight.
    """
    if not len(judged.labels):
        return np.full(len(weights), np.nan)
    mass, confident, right = bins(judged.probabilities.max(axis=1), judged.found == judged.labels, weights)
    distance = np.where(mass > 0, np.abs(np.nan_to_num(right) - np.nan_to_num(confident)), 0)
    return _ratio((mass * distance).sum(axis=1), mass.sum(axis=1))


def log_loss(judged: MeasuredRows, weights: Array) -> Array:
    """Mean negative natural logarithm of the label's probability."""
    at = judged.probabilities[np.arange(len(judged.labels)), judged.labels]
    return _ratio(weights @ -np.log(np.maximum(at, _LEAST_PROBABILITY)), weights.sum(axis=1))


def brier(judged: MeasuredRows, weights: Array) -> Array:
    """Mean squared distance between the probabilities and the label, over all three severities: 0 to 2."""
    wanted = np.eye(3)[judged.labels]
    return _ratio(weights @ ((judged.probabilities - wanted) ** 2).sum(axis=1), weights.sum(axis=1))


MEASURES: Final[dict[str, Callable[[MeasuredRows, Array], Array]]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "strict_f1": strict_f1,
    "loose_f1": loose_f1,
    "auroc_safe": auroc_safe,
    "auroc_unsafe": auroc_unsafe,
    "recall_1_percent": recall_1_percent,
    "recall_5_percent": recall_5_percent,
    "harmful_found": harmful_found,
    "false_positives": false_positives,
    "false_unsafe": false_unsafe,
    "ece": calibration_error,
    "log_loss": log_loss,
    "brier": brier,
}
"""By the name that ``evaluation.json`` gives them."""


MOST_RESAMPLES: Final = 1000
_LEAST_RESAMPLES = 200
_WORK = 10_000_000  # resamples times rows: some seconds
_BLOCK = 2_000_000  # weights held at once: 16 MB
_TAIL = 2.5  # per cent on either side
_WITHOUT = frozenset(
    {"ece"}
)  # drawn again, chance in the bins adds to it: the interval would lie above the value
_LEAST_DEFINED = 0.5  # of the resamples; below, an interval would speak of lucky draws


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure with its 95 % interval; the interval is None where too little can be drawn."""

    value: float
    low: float | None = None
    high: float | None = None

    def document(self) -> dict[str, float | None]:
        """As JSON has it, rounded to what can mean something."""
        return {
            name: None if one is None else round(one, 5)
            for name, one in (("value", self.value), ("low", self.low), ("high", self.high))
        }


def resamples(rows: int) -> int:
    """How many times this many rows are drawn again."""
    return int(np.clip(_WORK // max(1, rows), _LEAST_RESAMPLES, MOST_RESAMPLES))


def clusters(rows: Sequence[ScoredRow]) -> Array:
    """Number of each row's cluster, ``[rows]``: rows of one group together, any other row alone."""
    names = [("group", row.group) if row.group is not None else ("row", row.id) for row in rows]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=int)


def draws(cluster: Array, *, seed: int, name: str) -> Iterator[Array]:
    """Weights of rows drawn again with replacement, in blocks of ``[resamples, rows]``.

    Args:
        cluster: Number of each row's cluster, from 0 without gaps.
        seed: Same seed, same draws.
        name: Of the group of rows; another name, other draws.
    """
    count = int(cluster.max()) + 1
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest))
    left = resamples(len(cluster))
    size = max(1, _BLOCK // len(cluster))
    while left > 0:
        block = min(size, left)
        yield rng.multinomial(count, np.full(count, 1 / count), size=block)[:, cluster]
        left -= block


def estimates(
    rows: Sequence[ScoredRow],
    *,
    seed: int,
    name: str = "",
    measures: Mapping[str, Callable[[MeasuredRows, Any], Any]] = MEASURES,
) -> dict[str, Estimate]:
    """Every measure that is defined on these rows, with a 95 % percentile interval.

    Args:
        rows: Failed rows are passed over.
        seed: Of the draws.
        name: Of this group of rows.
        measures: Which ones.
    """
    judged_rows = [row for row in rows if row.probabilities is not None]
    if not judged_rows:
        return {}
    judged = MeasuredRows.of(judged_rows)
    whole = np.ones((1, len(judged_rows)))
    values = {one: float(measure(judged, whole)[0]) for one, measure in measures.items()}
    defined = {one: value for one, value in values.items() if not np.isnan(value)}
    cluster = clusters(judged_rows)
    if cluster.max() == 0:
        return {one: Estimate(value) for one, value in defined.items()}
    drawn: dict[str, list[Array]] = {one: [] for one in defined if one not in _WITHOUT}
    for weights in draws(cluster, seed=seed, name=name):
        for one, found in drawn.items():
            found.append(measures[one](judged, weights))
    return {
        one: _estimate(value, np.concatenate(drawn[one])) if one in drawn else Estimate(value)
        for one, value in defined.items()
    }


def _estimate(value: float, drawn: Array) -> Estimate:
    there = drawn[~np.isnan(drawn)]
    if len(there) < _LEAST_DEFINED * len(drawn):
        return Estimate(value)
    low, high = np.percentile(there, [_TAIL, 100 - _TAIL])
    return Estimate(value, float(low), float(high))
