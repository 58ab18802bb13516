"""What is measured on dev while a training goes on: the evaluation's measures, of all rows and by language. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sluicegate.engines.adapt.evaluate.measures import (
    MeasuredRows,
    accuracy,
    auroc_safe,
    auroc_unsafe,
    likeliest,
    macro_f1,
)
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class DevJudged:
    """One labelled row and the probabilities a model gave it."""

    language: str
    severity: Severity
    probabilities: tuple[float, float, float]
    """In the order of :data:`SEVERITIES`."""


_MEASURES = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "auroc_safe": auroc_safe,
    "auroc_unsafe": auroc_unsafe,
}


def summary(judged: Sequence[DevJudged]) -> dict[str, float]:
    """Measures by name, rounded; those that are not defined for these rows are absent.

    Args:
        judged: The rows, at least one.
    """
    probabilities = np.array([one.probabilities for one in judged], dtype=float)
    labels = np.array([SEVERITIES.index(one.severity) for one in judged], dtype=int)
    rows = MeasuredRows(labels, probabilities, likeliest(probabilities))
    each_once = np.ones((1, len(judged)))
    values = {name: float(measure(rows, each_once)[0]) for name, measure in _MEASURES.items()}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    return {name: round(value, 4) for name, value in {"rows": float(len(judged)), **known}.items()}


def by_language(judged: Sequence[DevJudged]) -> dict[str, dict[str, float]]:
    """The summary of each language."""
    groups: dict[str, list[DevJudged]] = defaultdict(list)
    for one in judged:
        groups[one.language].append(one)
    return {language: summary(group) for language, group in sorted(groups.items())}
