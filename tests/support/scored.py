"""Scored rows of our own making."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.schemas import Severity


def scored(
    row_id: str, severity: Severity, probabilities: tuple[float, float, float] | None, **changed: Any
) -> ScoredRow:
    """A post in English, or what is changed; without probabilities it timed out."""
    fields: dict[str, Any] = {"source": "made", "kind": "post", "language": "en", **changed}
    if probabilities is None:
        fields.setdefault("failure", "timed_out")
    return ScoredRow(id=row_id, severity=severity, probabilities=probabilities, **fields)


def sure(severity: Severity, how: float = 0.9) -> tuple[float, float, float]:
    """Probabilities that are so sure of a severity."""
    rest = (1 - how) / 2
    safe, controversial, unsafe = (how if one == severity else rest for one in SEVERITIES)
    return safe, controversial, unsafe


def drawn(count: int, *, seed: int, **changed: Any) -> list[ScoredRow]:
    """Rows whose labels are drawn from their own probabilities: calibrated by construction."""
    rng = np.random.default_rng(seed)
    rows = []
    for at, three in enumerate(rng.dirichlet([1, 1, 1], size=count)):
        safe, controversial, unsafe = (float(one) for one in three / three.sum())
        severity = SEVERITIES[rng.choice(3, p=[safe, controversial, unsafe])]
        rows.append(scored(f"r{at}", severity, (safe, controversial, unsafe), **changed))
    return rows


def weights_of(rows: Sequence[ScoredRow]) -> Any:
    """Every row once: ``[1, rows]``."""
    return np.ones((1, len(rows)))
