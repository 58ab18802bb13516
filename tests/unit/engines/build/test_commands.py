"""Commands: their output goes into a file of the caller's alone, and they end when we do."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.build import commands
from sluicegate.engines.build.commands import known_fault, run_command
from sluicegate.engines.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

STAYS = (sys.executable, "-c", "import time; time.sleep(600)")


def nothing(_minutes: int) -> None:
    pass


def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of the try before")
    command = (sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert run_command(command, log, nothing) == 7
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_our_own_command_is_the_one_that_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run_command(("sluicegate", "--version"), log, nothing) == 0
    assert log.read_text().strip()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no-such-tool cannot be run .*; install it, or set container"):
        run_command(("no-such-tool",), tmp_path / "log", nothing)


def test_it_says_each_minute_that_it_is_at_work_and_ends_when_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_MINUTE_S", 0.01)
    started: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Seen)
    told: list[int] = []

    def interrupted(minutes: int) -> None:
        told.append(minutes)
        if minutes == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(STAYS, tmp_path / "log", interrupted)
    assert told == [1, 2, 3]
    assert started[0].poll() is not None


def test_only_the_end_of_the_output_is_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"CUDA out of memory" + b"x" * (commands._TAIL_BYTES + 1))
    assert known_fault(log) is None
    log.write_bytes(b"x" * commands._TAIL_BYTES + b"CUDA out of memory")
    assert "memory was full" in (known_fault(log) or "")
    assert known_fault(tmp_path / "none") is None
