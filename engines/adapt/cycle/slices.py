"""Slices: what a new model changed where it was taught, where it was not, and on every past month. Pure.

A model that learns this week's corrections may forget last month's. An average hides that. So each month's rows are a slice
of their own, and the worst of them decides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sluicegate.engines.adapt.cycle.ledger import SnapshotRow
from sluicegate.engines.adapt.evaluate.scored import ScoredRow
from sluicegate.engines.adapt.report import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


CORE: Final = "core"
_NEVER_JUDGED: Final = "–"
_SHOWN_MODELS: Final = 6
"""Columns of a page; gate.json has all."""


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


class JudgedModel(NamedTuple):
    """A model that judged held-out rows, now or in an earlier run."""

    name: str
    digest: str
    """Of its bundle."""
    scored: Sequence[ScoredRow]


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
        hits[_slice(known)].append(pair)
        if known is not None and known.found is not None:
            (untouched if known.found == known.severity else taught).append(pair)
    return TaughtChange(
        _change(taught), _change(untouched), {name: _change(one) for name, one in sorted(hits.items())}
    )


def slice_matrix(
    new: Sequence[ScoredRow],
    models: Sequence[JudgedModel],
    rows: Mapping[str, SnapshotRow],
    limit: float,
) -> dict[str, Any]:
    """Each slice beside each model, for JSON. A model is compared on the rows of a slice that it judged itself.

    Args:
        new: Of the candidate.
        models: The live one first, then those before it.
        rows: As for :func:`compare_slices`.
        limit: What a slice may lose against the live model.
    """
    ids: dict[str, list[str]] = defaultdict(list)
    right: dict[str, int] = defaultdict(int)
    for row in new:
        name = _slice(rows.get(row.id))
        ids[name].append(row.id)
        right[name] += row.found == row.severity
    return {
        "limit": limit,
        "slices": {
            name: {
                "rows": len(ones),
                "digest": f"sha256:{hashlib.sha256(orjson.dumps(sorted(ones))).hexdigest()}",
                "new": right[name] / len(ones),
            }
            for name, ones in sorted(ids.items())
        },
        "models": [
            {
                "name": model.name,
                "digest": model.digest,
                "by_slice": {
                    name: {"rows": one.rows, "right": one.current, "new": one.new}
                    for name, one in compare_slices(new, model.scored, rows).by_slice.items()
                },
            }
            for model in models
        ],
    }


def matrix_page(matrix: Mapping[str, Any]) -> str:
    """The section of the gate's page.

    Args:
        matrix: What :func:`slice_matrix` made.
    """
    models = matrix["models"][:_SHOWN_MODELS]
    lines = [
        (name, one["rows"], f"{one['new']:.3f}", *(_cell(model, name, one["rows"]) for model in models))
        for name, one in matrix["slices"].items()
    ]
    more = len(matrix["models"]) - len(models)
    parts = [
        "## Months",
        (
            "Share of the held-out rows of each month that a model judges as people did. A model judged some of the rows, or none, "
            "where its number of rows or a dash stands; what the new model makes of the same rows follows. No slice may lose more than "
            f"{matrix['limit']:.1%} against the live model."
        ),
        table(("slice", "rows", "new", *(model["name"] for model in models)), lines),
        f"And {more:,} earlier models in gate.json." if more > 0 else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(model: Mapping[str, Any], name: str, rows: int) -> str:
    one = model["by_slice"].get(name)
    if one is None:
        return _NEVER_JUDGED
    if one["rows"] == rows:
        return f"{one['right']:.3f}"
    return f"{one['right']:.3f} ({one['rows']:,} rows; new {one['new']:.3f})"


def _slice(row: SnapshotRow | None) -> str:
    return CORE if row is None else f"{row.decided_at:%Y-%m}"


def _change(pairs: list[tuple[bool, bool]]) -> SliceChange:
    if not pairs:
        return SliceChange(0, 0.0, 0.0)
    return SliceChange(
        len(pairs), sum(one for one, _ in pairs) / len(pairs), sum(other for _, other in pairs) / len(pairs)
    )
