"""Generated mutants: which modules they are of, what each is called, and the sample that is drawn of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mutants.mutant import ROOT
from mutants.operators import changes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mutants.operators import Change

_UNIT = "tests/unit/pipeline"
_PATH = (f"{_UNIT}/flow/test_*.py",)
_SHORTCUTS = (f"{_UNIT}/shortcuts/test_*.py",)
_OF_NO_ROOM = ("_command.py", "_doc.py")


@dataclass(frozen=True, slots=True)
class Room:
    """Modules of the main path, and where the tests stand that must notice."""

    name: str
    modules: tuple[str, ...]
    """Patterns below the root. A module that is split stays in its room as long as its name begins alike."""
    tests: tuple[str, ...]
    """Patterns below the root. What starts commands or runs the pages of the docs is left out: it is of no room."""

    def files(self, root: Path = ROOT) -> list[str]:
        """The modules as they are now, below the root."""
        found = {path for pattern in self.modules for path in root.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(root).as_posix() for path in found)

    def test_files(self, root: Path = ROOT) -> list[str]:
        """The files of tests as they are now, below the root."""
        found = {path for pattern in self.tests for path in root.glob(pattern)}
        names = (path.relative_to(root).as_posix() for path in found)
        return sorted(name for name in names if not name.endswith(_OF_NO_ROOM))


ROOMS = (
    Room(
        "flow",
        (
            "pipeline/flow/flow*.py",
            "pipeline/flow/work*.py",
            "pipeline/flow/in_work*.py",
            "pipeline/flow/window*.py",
            "pipeline/flow/planner*.py",
        ),
        (*_PATH, *_SHORTCUTS, f"{_UNIT}/test_worker_drain.py"),
    ),
    Room(
        "judge",
        (
            "pipeline/flow/judge*.py",
            "pipeline/flow/server*.py",
            "pipeline/flow/suspects*.py",
            "pipeline/flow/adapter_state*.py",
        ),
        _PATH,
    ),
    Room("answers", ("pipeline/flow/answers*.py", "pipeline/flow/decision*.py"), (*_PATH, *_SHORTCUTS)),
    Room("policy", ("pipeline/policy/*.py",), (*_PATH, f"{_UNIT}/policy/test_*.py")),
    Room(
        "source",
        (
            "pipeline/kafka/source*.py",
            "pipeline/kafka/consumer*.py",
            "pipeline/kafka/partitions*.py",
            "pipeline/kafka/assignment*.py",
        ),
        (
            f"{_UNIT}/kafka/test_*.py",
            f"{_UNIT}/observe/test_lag*.py",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Generated:
    """One change of one module."""

    name: str
    """Module, function, operator and occurrence in the function: it stays as it is when code moves."""
    file: str
    room: Room
    change: Change
    text: str
    """What is replaced, and by what, on one line."""


def generated(room: Room, root: Path = ROOT) -> list[Generated]:
    """Every mutant of a room's modules."""
    found = []
    for file in room.files(root):
        source = (root / file).read_text(encoding="utf-8")
        seen: Counter[str] = Counter()
        for change in changes(source):
            name = f"{file}:{change.place}:{change.operator.replace(' ', '-')}"
            seen[name] += 1
            text = f"{_one_line(change.before(source))} -> {_one_line(change.instead)}"
            found.append(Generated(f"{name}:{seen[name]}", file, room, change, text))
    return found


def sample(mutants: Iterable[Generated], *, seed: int, count: int) -> list[Generated]:
    """Draw so many of the mutants, the same ones for the same seed.

    The order is that of a hash of seed and name. So code that is added or taken away changes the sample by
    little more than its own share.
    """
    return sorted(mutants, key=lambda one: hashlib.sha256(f"{seed} {one.name}".encode()).digest())[:count]


def _one_line(text: str) -> str:
    return " ".join(text.split())
