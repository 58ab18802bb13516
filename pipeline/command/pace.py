"""Pace: how far long work is, how fast it goes and how long it will take, on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

_LINES_S = 10.0  # between lines in a log
_TERMINAL_S = 0.2  # between updates of a terminal's line


class Pace:
    """Tells of stages of counted work.

    Args:
        stream: A terminal's line is written over and over; anything else gets a line now and then.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._stage = ""
        self._began = 0.0
        self._done_before = 0
        self._told = 0.0
        self._width = 0

    def advance(self, stage: str, done: int, total: int) -> None:
        """Note that so many are done; what was done when the stage began does not count for its rate."""
        now = self._clock()
        if stage != self._stage:
            self._stage, self._began, self._done_before, self._told = stage, now, done, now
        due = now - self._told >= (_TERMINAL_S if self._is_terminal else _LINES_S)
        if not due and done < total:
            return
        self._told = now
        line = pace_line(stage, done, total, fresh=done - self._done_before, seconds=now - self._began)
        if self._is_terminal:
            end = "\n" if done >= total else ""
            self._stream.write(f"\r{line.ljust(self._width)}{end}")
            self._width = 0 if end else len(line)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()


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
