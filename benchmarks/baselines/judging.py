"""Rows as a baseline finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.adapt.evaluate.scored import ScoredRow, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row

    from .tfidf import Baseline


def scored_by(baseline: Baseline, rows: Sequence[Row]) -> list[ScoredRow]:
    """What a baseline finds in rows; it knows their texts alone."""
    found = baseline.probabilities([row.text for row in rows]).tolist()
    return [
        ScoredRow(**labelled(row), probabilities=tuple(three)) for row, three in zip(rows, found, strict=True)
    ]
