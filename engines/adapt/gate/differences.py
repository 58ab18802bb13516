"""Differences between two models, with intervals that hold together. Pure; needs numpy.

Rows are drawn again with replacement, whole clusters at a time, and both models are measured on the same draw. A
gate looks at dozens of differences at once: with an interval of 95 % for each by itself, chance alone would show
a loss somewhere nearly always. So the intervals of a family are widened by one factor until all of them hold together in 95 %
of the draws (the largest studentised deviation decides; Romano and Wolf, 2005).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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
    """Field of :class:`~sluicegate.engines.adapt.gate.checks.GatePart`."""
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


RESAMPLES: Final = 1000
_TOGETHER = 95.0  # per cent of the draws in which every interval of a family holds
_BLOCK = 2_000_000  # weights held at once: 16 MB
_CHANGED_ROWS = 4.0
"""No difference is taken for surer than one that rests on this many changed rows: where a handful differ, draws
show hardly any spread, and a normal range means nothing."""
_LEAST_DEFINED = 0.5  # of the draws; below, an interval would speak of lucky ones


@dataclass(frozen=True, slots=True)
class ComparedGroup:
    """Rows that are looked at by themselves."""

    by: str
    name: str
    members: Array
    """Numbers of its rows."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure on one group of rows; new minus current."""

    group: ComparedGroup
    measure: Measure
    rows: int
    """This many rows it rests on."""
    new: float
    current: float
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float:
        """New minus current."""
        return self.new - self.current

    @property
    def loss(self) -> float:
        """By how much the new model is worse; below 0 it is better."""
        return abs(self.value) if self.measure.worse == 0 else self.value * self.measure.worse

    @property
    def is_certain(self) -> bool:
        """True if no change at all lies outside the interval. Without one, nothing excuses the number."""
        return self.low is None or self.high is None or not self.low <= 0 <= self.high


def rests_on(sides: Sides, group: ComparedGroup, measure: Measure) -> int:
    """How many rows a measure rests on."""
    return int(measure.rests_on(sides)[group.members].sum())


def differences(
    sides: Sides,
    wanted: Sequence[tuple[ComparedGroup, Measure]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> list[Difference]:
    """A family of differences, in the order asked for; what is not defined on its rows is left out.

    Args:
        sides: The rows.
        wanted: Measures on groups; each group's members are looked at once.
        seed: Of the draws.
        resamples: How many.
        advance: Called with resamples done and in all.
    """
    whole = [columns(sides, side) for side in (0, 1)]
    each = {
        (group.by, group.name): (group.members, [side[group.members] for side in whole])
        for group, _ in wanted
    }
    found = []
    for group, measure in wanted:
        both = each[group.by, group.name][1]
        new, current = (float(measure.value(side.sum(axis=0, dtype=float))) for side in both)
        if not np.isnan(new - current):
            found.append(Difference(group, measure, rests_on(sides, group, measure), new, current))
    if not found or sides.cluster.max() == 0:
        return found
    drawn = np.empty((resamples, len(found)))
    done = 0
    for weights in _draws(sides.cluster, seed=seed, resamples=resamples):
        sums = {name: [weights[:, members] @ side for side in both] for name, (members, both) in each.items()}
        for at, one in enumerate(found):
            new, current = (one.measure.value(side) for side in sums[one.group.by, one.group.name])
            drawn[done : done + len(weights), at] = new - current
        done += len(weights)
        advance(done, resamples)
    return _with_intervals(found, drawn)


def _draws(cluster: Array, *, seed: int, resamples: int) -> Iterator[Array]:
    """Weights of rows, in blocks of ``[some resamples, rows]``."""
    count = int(cluster.max()) + 1
    digest = hashlib.blake2b(f"gate:{seed}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest))
    size = max(1, _BLOCK // len(cluster))
    for at in range(0, resamples, size):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(size, resamples - at))
        yield drawn[:, cluster].astype(np.float32)  # sums of counts stay exact up to 16 million


def _with_intervals(found: Sequence[Difference], drawn: Array) -> list[Difference]:
    values = np.array([one.value for one in found])
    there = ~np.isnan(drawn)
    enough = there.mean(axis=0) >= _LEAST_DEFINED
    floor = np.sqrt(_CHANGED_ROWS) / np.array([max(1, one.rows) for one in found])
    centred = np.where(there, drawn - values, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / np.maximum(1, there.sum(axis=0)))
    spread = np.maximum(spread, floor)
    largest = np.abs(centred / spread)[:, enough].max(axis=1, initial=0)
    reach = float(np.percentile(largest, _TOGETHER)) * spread
    return [
        Difference(
            one.group,
            one.measure,
            one.rows,
            one.new,
            one.current,
            *((float(value - wide), float(value + wide)) if known else (None, None)),
        )
        for one, value, wide, known in zip(found, values, reach, enough, strict=True)
    ]
