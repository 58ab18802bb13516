"""Slices: what a new model changed where it was taught, where it was not, and on every past month. Pure.

A model that learns this week's corrections may forget last month's. An average hides that. So each month's rows are a slice
of their own, and the worst of them decides.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sluicegate.engines.adapt.cycle.ledger import SnapshotRow
from sluicegate.engines.adapt.evaluate.scored import ScoredRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


CORE = "core"


class SliceChange(NamedTuple):
    """Rows that two models judged."""

    rows: int
    current: float
    """Share that the live model judges as the label says."""
    new: float
    """The same of the new one."""

    @property
    def change(self) -> float:
        """Above 0: the new model is better."""
        return self.new - self.current


class TaughtChange(NamedTuple):
    """What the corrections did."""

    taught: SliceChange
    """Held-out cases whose verdict people had to correct."""
    untouched: SliceChange
    """Held-out cases whose verdict people confirmed."""
    by_slice: dict[str, SliceChange]
    """``core``, and each month in which people decided, such as ``2026-11``."""

    @property
    def worst(self) -> tuple[str, SliceChange] | None:
        """The slice that lost most."""
        return min(self.by_slice.items(), key=lambda one: (one[1].change, one[0]), default=None)


def compare_slices(
    new: Iterable[ScoredRow], current: Iterable[ScoredRow], rows: Mapping[str, SnapshotRow]
) -> TaughtChange:
    """Compare two models on the rows that both judged. A row that fails is judged wrongly.

    Args:
        new: Of the candidate.
        current: Of the live model.
        rows: By the id that an evaluation has, the row of the snapshot. Any other row is of the core.
    """
    before = {row.id: row.found == row.severity for row in current}
    hits: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    taught: list[tuple[bool, bool]] = []
    untouched: list[tuple[bool, bool]] = []
    for row in new:
        if row.id not in before:
            continue
        pair = before[row.id], row.found == row.severity
        known = rows.get(row.id)
        hits[CORE if known is None else f"{known.decided_at:%Y-%m}"].append(pair)
        if known is not None and known.found is not None:
            (untouched if known.found == known.severity else taught).append(pair)
    return TaughtChange(
        _change(taught), _change(untouched), {name: _change(one) for name, one in sorted(hits.items())}
    )


def _change(pairs: list[tuple[bool, bool]]) -> SliceChange:
    if not pairs:
        return SliceChange(0, 0.0, 0.0)
    return SliceChange(
        len(pairs), sum(one for one, _ in pairs) / len(pairs), sum(other for _, other in pairs) / len(pairs)
    )
