"""The command as users start it: a process of its own, with no settings of this shell's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 120.0  # what waits longer waits for ever


def variables_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables of the environment for settings by their dotted names."""
    return {f"SLUICEGATE_{name.upper().replace('.', '__')}": value for name, value in settings.items()}


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with these settings of Sluicegate's, and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    return kept | variables_of(settings or {})


def run(*arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``sluicegate`` to its end.

    Args:
        arguments: Of the command.
        given: On its standard input.
        variables: Of its environment.

    Raises:
        subprocess.TimeoutExpired: It did not end.
    """
    return subprocess.run(
        [sys.executable, "-m", "sluicegate", *arguments],
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        check=False,
        env=environment() | variables,
    )


def heed_ctrl_c() -> None:
    """For a process that gets Ctrl-C: a script's background jobs ignore it, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
