"""Running one command of a plan: its output into a file, a line a minute, and a sentence when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from sluicegate.engines.build.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MINUTE_S: Final = 60.0
_STOP_S: Final = 30.0
_TAIL_BYTES: Final = 64 * 1024

_KNOWN: Final = {
    b"out of memory": "the GPU's memory was full; free it, or lower limits.max_num_tokens and max_batch_size",
    b"No space left on device": "a disk was full; give --work on a larger one",
    b"could not select device driver": "docker knows no GPU; install the NVIDIA Container Toolkit",
    b"KeyError: 'architecture'": "it was given a checkpoint that was not converted (#6360); remove the work folder",
    b"Unable to find image": "the image is not there; run docker pull with the image of the plan",
}
"""What a tool prints when it fails, and what to do. Nothing of its output is shown: it may hold a post."""


class Runner(Protocol):
    """Runs one command to its end."""

    def __call__(self, command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
        """Run.

        Args:
            command: Program and arguments.
            log: File for what it prints.
            still: Called each minute with the minutes so far.

        Returns:
            Its exit code.
        """
        ...


def run_command(command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
    """Run a command as a process; stopped with us. See :class:`Runner`.

    Raises:
        BuildError: There is no such program.
    """
    argv = list(command)
    if argv[0] == "sluicegate":  # ours, whatever stands on PATH
        argv[:1] = [sys.executable, "-m", "sluicegate"]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603  # no shell; the plan shows it
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise BuildError(
                f"{command[0]} cannot be run ({error.strerror}); install it, or set container in the recipe"
            ) from error
        minutes = 0
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_MINUTE_S)
                minutes += 1
                still(minutes)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # docker passes it on to what runs in the container
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def known_fault(log: Path) -> str | None:
    """What the end of a command's output is known to mean.

    Args:
        log: The file with the output.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = stream.read(_TAIL_BYTES)
    except OSError:
        return None
    return next((meaning for text, meaning in _KNOWN.items() if text in tail), None)
