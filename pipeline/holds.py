"""Holds: declared back-pressure, so that a waiting stream is told from a stalled one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HoldName = Literal["engine", "publish"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the stream waits, and since when (monotonic seconds)."""

    reason: str
    since: float


class Holds:
    """The holds in force. ``on_change`` gets the name and whether it holds now."""

    def __init__(self, clock: Callable[[], float], on_change: Callable[[HoldName, bool], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._holds: dict[HoldName, Hold] = {}
        self._waiters: dict[HoldName, int] = {}

    @property
    def current(self) -> dict[HoldName, Hold]:
        """A copy of the holds in force."""
        return dict(self._holds)

    def __bool__(self) -> bool:
        """True while anything holds."""
        return bool(self._holds)

    @contextmanager
    def waiter(self, name: HoldName) -> Iterator[Callable[[str], None]]:
        """Give a function that declares a hold; it is in force until the last declarer leaves its block.

        One waiter's success says nothing of the others: a verdict delivered to one topic does not
        clear the hold of a verdict that another topic refuses.
        """
        declared = False

        def declare(reason: str) -> None:
            nonlocal declared
            if not declared:
                declared = True
                self._waiters[name] = self._waiters.get(name, 0) + 1
            if name not in self._holds:
                self._holds[name] = Hold(reason, self._clock())
                self._on_change(name, True)
                _log.warning("hold_declared", hold=name, reason=reason)

        try:
            yield declare
        finally:
            if declared:
                self._waiters[name] -= 1
                if not self._waiters[name]:
                    self._clear(name)

    def _clear(self, name: HoldName) -> None:
        hold = self._holds.pop(name)
        self._on_change(name, False)
        _log.info("hold_cleared", hold=name, held_s=round(self._clock() - hold.since, 3))
