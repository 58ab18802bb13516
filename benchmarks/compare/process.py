"""The systems of a comparison as processes: a worker as users start it, or a contender of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compare.plan import ALONE, FAUST, FAUST_EMPTY, SWEEP
from support import command
from support.kafka import dies_with_us, tail
from support.workers import WorkerProcess

if TYPE_CHECKING:
    from compare.cluster import Lane
    from compare.contenders.plainly import Task

FOLDERS = (Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2] / "tests")
START_S = 180.0
"""A process may take so long to be at work, on a machine that does other things as well."""
_LOOK_S = 0.1
_MODULES = {
    FAUST: "compare.contenders.faust_take",
    FAUST_EMPTY: "compare.contenders.faust_take",
    ALONE: "compare.contenders.alone",
    SWEEP: "compare.contenders.alone",
}


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """An engine of the comparison."""

    backend: str
    """``fake`` or ``llama_cpp``."""
    profile: dict[str, object]
    """The fake engine's."""


def worker(
    lane: Lane,
    folder: Path,
    engine: EngineSetup,
    counts: Path,
    *,
    module: str = "sluicegate",
    more: dict[str, str] | None = None,
) -> WorkerProcess:
    """Start a worker with default settings; its fake engine writes its own counts."""
    settings = lane.settings | {"engine.backend": engine.backend, "log.level": "warning"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    if engine.backend == "fake":
        profile = folder.with_suffix(".profile.json")
        profile.write_text(json.dumps(engine.profile | {"counts_file": str(counts)}), encoding="utf-8")
        settings["engine.fake_profile"] = str(profile)
    return WorkerProcess(folder, settings, environment() | (more or {}), module=module)


def environment() -> dict[str, str]:
    """What a process needs to find our modules."""
    paths = [*map(str, FOLDERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


class Contender:
    """One contender's process, with its output in a file."""

    def __init__(self, task: Task, folder: Path) -> None:
        folder.mkdir(parents=True)
        path, self._log = folder / "task.json", folder / "output.log"
        path.write_text(json.dumps(asdict(task)), encoding="utf-8")
        module = _MODULES.get(task.system, "compare.contenders.loops")
        kept = command.environment()
        if cache := os.environ.get("SLUICEGATE_CACHE_DIR"):
            kept["SLUICEGATE_CACHE_DIR"] = cache
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), sys.executable, "-m", module, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=kept | environment() | {"TMPDIR": str(folder)},
                cwd=folder,
            )
        self._system = task.system

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            RuntimeError: It has; the message ends in its last lines.
        """
        if self._process.poll() is not None:
            raise RuntimeError(
                f"{self._system} ended with {self._process.returncode}:\n{tail(self._log, 15)}"
            )

    def wait(self, within_s: float) -> None:
        """Wait for its end.

        Raises:
            TimeoutError: It did not end in time.
            RuntimeError: It did not end well; the message ends in its last lines.
        """
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self._system} still runs after {within_s:.0f} s") from None
        if code:
            raise RuntimeError(f"{self._system} ended with {code}:\n{tail(self._log, 15)}")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()


def wait_ready(one: WorkerProcess) -> None:
    """Wait until a worker has joined its group.

    Raises:
        TimeoutError: It did not in time.
        RuntimeError: It ended; the message ends in its last lines.
    """
    deadline = time.monotonic() + START_S
    while not one.ready():
        check_worker(one)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker was not ready within {START_S:.0f} s")
        time.sleep(_LOOK_S)


def check_worker(one: WorkerProcess) -> None:
    """Raise if a worker has ended.

    Raises:
        RuntimeError: It has; the message ends in its last lines.
    """
    if not one.running:
        raise RuntimeError(f"the worker ended:\n{tail(one.stderr, 15)}")
