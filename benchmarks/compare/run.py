"""Goes through the cells of a plan. What is done is kept line by line: a run that was stopped goes on from there."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from compare.plan import Cell, fits, left_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from compare.figures import Done


class WorkFolderError(Exception):
    """The folder cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """A cell that is done."""

    cell: Cell
    seconds: float
    commit: str
    figures: dict[str, float]


class Kept:
    """The results in a work folder.

    Args:
        folder: Made if it is not there.
        setting: What decides the figures, such as sizes and data; another one's results are not mixed in.

    Raises:
        WorkFolderError: The folder holds a run of another setting.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.jsonl"
        wanted, path = json.loads(json.dumps(setting)), folder / "setting.json"
        if not path.exists():
            path.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        elif (found := _object(path.read_text(encoding="utf-8"))) != wanted:
            differ = sorted(name for name in {*wanted, *found} if (found or {}).get(name) != wanted.get(name))
            raise WorkFolderError(
                f"{folder} holds a run with another {', '.join(differ)}; give another --work, or remove that folder"
            )
        self.results: dict[str, Result] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                if result := _result(line):
                    self.results[result.cell.key] = result

    def add(self, result: Result) -> None:
        """Keep one more."""
        self.results[result.cell.key] = result
        with self._path.open("a", encoding="utf-8") as file:
            # A line of its own, also after one that a killed run left unfinished.
            file.write(f"\n{json.dumps(asdict(result))}\n")

    @property
    def stages(self) -> dict[str, Done]:
        """The figures by stage, system and repeat."""
        found: dict[str, Done] = {}
        for result in self.results.values():
            cell = result.cell
            found.setdefault(cell.stage, {}).setdefault(cell.system, {})[cell.repeat] = result.figures
        return found

    @property
    def took(self) -> dict[tuple[str, str], list[float]]:
        """Seconds of what is done, by kind of cell."""
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for result in self.results.values():
            found[result.cell.kind].append(result.seconds)
        return dict(found)

    @property
    def commits(self) -> list[str]:
        """All commits that took part."""
        return sorted({result.commit for result in self.results.values()})


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _result(line: str) -> Result | None:
    """A line as a result; None for the last line of a run that was killed."""
    said = _object(line)
    try:
        return Result(Cell(**said["cell"]), said["seconds"], said["commit"], said["figures"])
    except (KeyError, TypeError):
        return None


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
