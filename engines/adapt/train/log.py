"""Log of a training: one JSON object a line, kept in step with the checkpoint, and drawn as a picture.

What is measured on dev while the training goes on are the evaluation's measures, of all rows and by language.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sluicegate.engines.adapt.evaluate.measures import (
    MeasuredRows,
    accuracy,
    auroc_safe,
    auroc_unsafe,
    likeliest,
    macro_f1,
)
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.report import draw_picture
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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


LOG = "log.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a log; a line cut off by a crash is passed over."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entries.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return entries


class Log:
    """Appends entries.

    Args:
        path: The file; made if need be.
        from_step: What a checkpoint has seen. Entries of later steps, which a crash undid, are dropped.
    """

    def __init__(self, path: Path, *, from_step: int) -> None:
        self._path = path
        kept = [entry for entry in read_log(path) if entry["step"] <= from_step]
        path.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in kept))

    def add(self, what: str, step: int, **facts: Any) -> None:
        """Append one entry."""
        with self._path.open("ab") as stream:
            stream.write(orjson.dumps({"what": what, "step": step, **facts}) + b"\n")


CURVES = "curves.png"
_SMOOTHING = 0.95
_DRAWN = {
    "macro_f1": "macro-F1",
    "auroc_safe": "AUROC safe vs rest",
    "auroc_unsafe": "AUROC unsafe vs rest",
}


def draw(entries: Sequence[dict[str, Any]], path: Path, *, planned_rows: int) -> None:
    """Draw loss above and dev measures below, over rows. Replaces the picture in one move."""
    steps = [entry for entry in entries if entry["what"] == "step"]
    devs = [entry for entry in entries if entry["what"] == "dev"]

    def drawn(axes: Any) -> None:
        above, below = axes
        rows = [entry["rows"] for entry in steps]
        above.plot(rows, [entry["loss"] for entry in steps], linewidth=0.5, alpha=0.4, label="loss of a step")
        above.plot(rows, smoothed([entry["loss"] for entry in steps]), linewidth=1.6, label="smoothed")
        above.set_ylabel("weighted cross entropy")
        above.set_yscale("log")
        above.legend()
        for name, label in _DRAWN.items():
            points = [(entry["rows"], entry[name]) for entry in devs if name in entry]
            below.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
        below.set_xlabel(f"rows trained, of {planned_rows:,} planned")
        below.set_ylabel("dev sample")
        below.set_xlim(0, planned_rows)
        below.grid(alpha=0.3)
        below.legend(loc="lower right")

    draw_picture(path, drawn, inches=(9, 7), dpi=100, rows=2)


def smoothed(values: Sequence[float]) -> list[float]:
    """An exponential mean of the values so far, free of its start's bias."""
    found, total, weight = [], 0.0, 0.0
    for value in values:
        total = _SMOOTHING * total + (1 - _SMOOTHING) * value
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        found.append(total / weight)
    return found
