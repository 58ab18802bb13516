"""Progress: how far a run is, on stderr while it goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from sluicegate.pipeline.trial.bench.ledger import Ledger
from sluicegate.pipeline.trial.terminal_line import TerminalLine

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress:
    """Tells of a run.

    Args:
        stream: A terminal's line is written over and over; anything else gets a line now and then.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._line = TerminalLine(stream, terminal_s=0.5, log_s=5.0, clock=clock)
        self._began = clock()

    def say(self, sentence: str) -> None:
        """One plain line."""
        self._line.end()
        self._stream.write(f"{sentence}\n")
        self._stream.flush()

    def show(self, ledger: Ledger, *, final: bool = False) -> None:
        """The state of a run, if the last one is some time old."""
        if final or self._line.is_due:
            self._line.show(progress_line(ledger, self._clock() - self._began), last=final)

    def begin(self) -> None:
        """Count seconds from now."""
        self._began = self._clock()
        self._line.restart()


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
