"""Engine busy share: how much of the time the engine had enough to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BusyMeter:
    """Adds up the seconds in which at least ``saturating`` prompts were in work."""

    def __init__(self, saturating: int, clock: Callable[[], float]) -> None:
        self._saturating = saturating
        self._clock = clock
        self._in_work = 0
        self._busy_s = 0.0
        self._since = clock()

    @contextmanager
    def work(self, prompts: int) -> Iterator[None]:
        """Count prompts as in work for the length of the block."""
        self._shift(prompts)
        try:
            yield
        finally:
            self._shift(-prompts)

    @property
    def in_work(self) -> int:
        """Prompts in work now."""
        return self._in_work

    def busy_s(self) -> float:
        """Seconds of saturation so far."""
        self._shift(0)
        return self._busy_s

    def _shift(self, by: int) -> None:
        now = self._clock()
        if self._in_work >= self._saturating:
            self._busy_s += now - self._since
        self._since = now
        self._in_work += by
