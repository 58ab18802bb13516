"""Thresholds: which figures make a run a failure. Pure."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.text import neutral
from sluicegate.pipeline.trial.bench.figures import FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*", re.ASCII)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A run fails if this is true of one of its figures."""

    figure: str
    relation: str
    value: float

    def __str__(self) -> str:
        return f"{self.figure}{self.relation}{self.value:g}"

    def fails(self, figures: Mapping[str, float | None]) -> bool:
        """True if it is so, and also if the figure is not known: nobody can say that it is well."""
        found = figures.get(self.figure)
        return found is None or bool(_COMPARE[self.relation](found, self.value))


PROMISE = (Threshold("drops", ">", 0), Threshold("refused", ">", 0), Threshold("contradictions", ">", 0))
"""What fails every run that was not cut short."""

JUDGEMENT = Threshold("judged", "<", 1)
"""What fails such a run too if anything was answered: answers alone say nothing of the engine."""


def parse_threshold(text: str) -> Threshold:
    """Read a threshold such as ``p99_ms>500``.

    Raises:
        BenchError: It is none, or names no figure.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise BenchError(f"--fail-if {neutral(text)!r} is no condition; write one such as 'p99_ms>500'")
    name, relation, value = found.groups()
    if name not in FIGURES:
        raise BenchError(f"--fail-if: no figure is called {neutral(name)}; there are {', '.join(FIGURES)}")
    return Threshold(name, relation, float(value))


def failed(
    figures: Mapping[str, float | None], thresholds: Sequence[Threshold], *, cut_short: bool
) -> list[str]:
    """The conditions that hold, as they are written."""
    always: tuple[Threshold, ...] = () if cut_short else PROMISE
    if always and figures.get("answered"):
        always += (JUDGEMENT,)
    return [str(one) for one in dict.fromkeys((*always, *thresholds)) if one.fails(figures)]
