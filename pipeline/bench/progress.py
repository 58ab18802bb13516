"""Progress: how far a run is, on stderr while it goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.pipeline.bench.ledger import Ledger

_LINES_S = 5.0  # between lines in a log
_TERMINAL_S = 0.5  # between updates of a terminal's line


class Progress:
    """Tells of a run.

    Args:
        stream: A terminal's line is written over and over; anything else gets a line now and then.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._began = self._told = clock()
        self._width = 0

    def say(self, sentence: str) -> None:
        """One plain line."""
        self._end_line()
        self._write(f"{sentence}\n")

    def show(self, ledger: Ledger, *, final: bool = False) -> None:
        """The state of a run, if the last one is some time old."""
        now = self._clock()
        if not final and now - self._told < (_TERMINAL_S if self._is_terminal else _LINES_S):
            return
        self._told = now
        line = progress_line(ledger, now - self._began)
        if self._is_terminal:
            self._write(f"\r{line.ljust(self._width)}")
            self._width = len(line)
        else:
            self._write(f"{line}\n")
        if final:
            self._end_line()

    def begin(self) -> None:
        """Count seconds from now."""
        self._began = self._told = self._clock()

    def _end_line(self) -> None:
        if self._width:
            self._write("\n")
            self._width = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def progress_line(ledger: Ledger, seconds: float) -> str:
    """The state of a run as one line."""
    latency = "/".join(
        "–" if value is None else f"{value:,.0f}"
        for value in (ledger.latency.percentile_ms(share) for share in (0.5, 0.95, 0.99))
    )
    return (
        f"{seconds:5.0f} s  sent {ledger.sent:,} of {len(ledger.arrivals.at_s):,}  answered {ledger.answered:,}  "
        f"p50/p95/p99 {latency} ms"
    )
