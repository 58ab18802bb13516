"""Stopping: a wish to end, from a signal or the clock, heard between two steps."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Stop:
    """Asked after every step whether to end, and why.

    Args:
        minutes: After this time it ends; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes
        self._signal: str | None = None

    @property
    def reason(self) -> str | None:
        """Why to end; None to go on."""
        if self._signal is not None:
            return self._signal
        return "time is up" if self._ends is not None and time.monotonic() >= self._ends else None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Hear SIGTERM and Ctrl-C inside the block. A second one ends the process as usual."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def heard(number: int, _frame: FrameType | None) -> None:
            self._signal = signal.Signals(number).name
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in before:
            signal.signal(number, heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
