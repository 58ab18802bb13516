"""What several commands share: their options, and how they show progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from sluicegate.pipeline.trial.terminal_line import TerminalLine

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Tells of stages of counted work.

    Args:
        stream: A terminal's line is written over and over; anything else gets a line now and then.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._line = TerminalLine(stream, terminal_s=0.2, log_s=10.0, clock=clock)
        self._stage = ""
        self._began = 0.0
        self._done_before = 0

    def advance(self, stage: str, done: int, total: int) -> None:
        """Note that this many are done; what was done when the stage began does not count for its rate."""
        now = self._clock()
        if stage != self._stage:
            self._stage, self._began, self._done_before = stage, now, done
            self._line.restart()
        if self._line.is_due or done >= total:
            fresh = done - self._done_before
            line = pace_line(stage, done, total, fresh=fresh, seconds=now - self._began)
            self._line.show(line, last=done >= total)


def pace_line(stage: str, done: int, total: int, *, fresh: int, seconds: float) -> str:
    """One line.

    Args:
        stage: What is done.
        done: Of the total.
        total: In all.
        fresh: Of those done, how many were done in these seconds.
        seconds: Since the stage began.
    """
    line = f"{stage} {done:,} of {total:,}"
    if fresh <= 0 or seconds <= 0:
        return line
    rate = fresh / seconds
    line += f", {rate:,.1f}/s"
    return line if done >= total else f"{line}, {_span((total - done) / rate)} left"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="YAML file of settings; the environment overrides it.",
        envvar="SLUICEGATE_SETTINGS",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]
