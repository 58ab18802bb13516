"""Steps: commands that follow on each other over files. Each leaves a fact, and a step whose fact stands is not done again."""

from __future__ import annotations

import hashlib
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

FACTS = "facts"


def tree_digest(path: Path) -> str | None:
    """``sha256:…`` of a file, or of all files in a folder with their names; None where there is none."""
    if not path.exists():
        return None
    hashed = hashlib.sha256()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        with file.open("rb") as stream:
            hashed.update(orjson.dumps([name, hashlib.file_digest(stream, "sha256").hexdigest()]))
    return f"sha256:{hashed.hexdigest()}"


class StepRunner:
    """Runs the steps of one run of a cycle.

    A step is done again if what goes into it changed, if what came out is gone, or if it was cut off: it then has no
    fact. What a step cut off in the middle left is for the step itself: those that can go on do, the others are given
    an empty place.

    Args:
        folder: Of the run.
        report: Called with one line for each step.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self._folder = folder
        self._report = report
        self._number = 0
        self.seconds: dict[str, float] = {}
        """By step: how long it took, now or in the sitting that did it."""

    def step(
        self,
        name: str,
        work: Callable[[], None],
        *,
        inputs: Mapping[str, Path | str],
        outputs: Sequence[Path] = (),
        goes_on: bool = False,
    ) -> bool:
        """Do a step, unless its fact says that it is done; whether it was done now.

        Args:
            name: Of the step.
            work: Does it.
            inputs: Files, folders and values by name. Their digests stand in the fact.
            outputs: What it makes, in the run's folder.
            goes_on: The work goes on with what it left when it was cut off.
        """
        self._number += 1
        path = self._folder / FACTS / f"{self._number:02}-{name}.json"
        digests = {
            key: value if isinstance(value, str) else tree_digest(value)
            for key, value in sorted(inputs.items())
        }
        fact = self._read(path)
        if fact is not None and fact["inputs"] == digests and all(one.exists() for one in outputs):
            self.seconds[name] = fact["seconds"]
            return False
        path.unlink(missing_ok=True)
        if not goes_on:
            for output in outputs:
                _remove(output)
        self._report(f"{self._number:2} {name}")
        began, clock = datetime.now(UTC), time.monotonic()
        work()
        seconds = round(time.monotonic() - clock, 1)
        document: dict[str, Any] = {
            "step": name,
            "inputs": digests,
            "outputs": {one.relative_to(self._folder).as_posix(): tree_digest(one) for one in outputs},
            "began_at": began.isoformat(),
            "seconds": seconds,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True) as stream:
            stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        self.seconds[name] = seconds
        return True

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            fact = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return fact if isinstance(fact, dict) and fact.keys() >= {"inputs", "seconds"} else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
