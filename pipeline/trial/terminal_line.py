"""A line that tells how far something is: written over on a terminal, and now and then a line in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable


class TerminalLine:
    """One line of a stream.

    Args:
        stream: A terminal's line is written over and over; anything else gets a line now and then.
        terminal_s: Between updates of a terminal's line.
        log_s: Between lines in a log.
        clock: Monotonic seconds.
    """

    def __init__(
        self, stream: TextIO, *, terminal_s: float, log_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every_s = terminal_s if self._is_terminal else log_s
        self._clock = clock
        self._told = clock()
        self._width = 0

    def restart(self) -> None:
        """Count the time to the next update from now."""
        self._told = self._clock()

    @property
    def is_due(self) -> bool:
        """True if the last update is some time old."""
        return self._clock() - self._told >= self._every_s

    def show(self, line: str, *, last: bool = False) -> None:
        """Write the line; nothing is written over the last one."""
        self._told = self._clock()
        if not self._is_terminal:
            self._write(f"{line}\n")
            return
        self._write(f"\r{line.ljust(self._width)}")
        self._width = len(line)
        if last:
            self.end()

    def end(self) -> None:
        """Go to the next line, if one was begun."""
        if self._width:
            self._write("\n")
            self._width = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
