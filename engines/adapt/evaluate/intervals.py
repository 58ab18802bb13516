"""Intervals: measures of rows drawn again, whole groups at a time. Pure; needs numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sluicegate.engines.adapt.evaluate.measures import MEASURES, Judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sluicegate.engines.adapt.evaluate.measures import Array
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

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
    """How many times so many rows are drawn again."""
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
    measures: Mapping[str, Callable[[Judged, Any], Any]] = MEASURES,
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
    judged = Judged.of(judged_rows)
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
