"""Goes through the cells of a plan: what is done already is left out, and time is watched."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from compare.kept import Result
from compare.plan import fits, left_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compare.kept import Kept
    from compare.plan import Cell

_TRIES = 2
"""A kind of cell that failed so often is left out for the rest of the run."""


_FAULTS = RuntimeError, AssertionError, OSError, ValueError, KafkaException, subprocess.SubprocessError


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that a run has."""

    seconds: float
    """A cell that would not be over by then is not begun."""
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Outcome:
    """How a run went."""

    failed: dict[str, str] = field(default_factory=dict)
    """Cells that could not be measured, and why."""
    left_out: list[str] = field(default_factory=list)
    """Cells for which no time was left."""
    interrupted: bool = False


def go(
    cells: Sequence[Cell],
    kept: Kept,
    measure: Callable[[Cell], dict[str, float]],
    *,
    budget: Budget,
    commit: str,
    say: Callable[[str], None],
) -> Outcome:
    """Measure every cell that is not kept yet.

    Args:
        cells: All of the plan, in order.
        kept: What is done; grows.
        measure: Gives the figures of one cell.
        budget: How long.
        commit: Of the tree that is measured.
        say: Told of progress.
    """
    clock, seconds = budget.clock, budget.seconds
    began, outcome, failures = clock(), Outcome(), Counter[tuple[str, str]]()
    todo = [cell for cell in cells if cell.key not in kept.results]
    if len(todo) < len(cells):
        say(f"{len(cells) - len(todo)} of {len(cells)} cells are done already")
    while todo:
        cell, remaining_s = todo.pop(0), seconds - (clock() - began)
        if failures[cell.kind] >= _TRIES:
            continue
        if not fits(cell, kept.took, remaining_s=remaining_s):
            outcome.left_out.append(cell.key)
            continue
        started = clock()
        try:
            figures = measure(cell)
        except KeyboardInterrupt:
            outcome.interrupted = True
            return outcome
        except _FAULTS as error:
            failures[cell.kind] += 1
            why = str(error).strip() or type(error).__name__
            outcome.failed[cell.key] = why
            say(f"{cell.key} failed: {why}")
            continue
        kept.add(Result(cell, round(clock() - started, 2), commit, figures))
        left = min(left_s(todo, kept.took), max(0.0, seconds - (clock() - began)))
        say(
            f"[{len(cells) - len(todo)} of {len(cells)}] {cell.key}: {_brief(figures)}; about {left / 60:.0f} min left"
        )
    return outcome


def _brief(figures: dict[str, float]) -> str:
    parts = [
        f"{figures[name]:{form}} {said}"
        for name, form, said in (
            ("posts_per_s", ",.1f", "posts/s"),
            ("busy_share", ".1%", "busy"),
            ("cpu_share", ".0%", "of a core"),
            ("p99_ms", ",.0f", "ms p99"),
            ("best", "g", "calls at once"),
        )
        if name in figures
    ]
    return ", ".join(parts)
