"""What is done of a run, line by line in its work folder: a run that was stopped goes on from there."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compare.plan import Cell

if TYPE_CHECKING:
    from collections.abc import Mapping
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
