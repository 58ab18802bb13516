"""Holds: declared back-pressure, so that a waiting stream is told from a stalled one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HoldName = Literal["engine", "publish", "input", "login"]
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
        self._cleared_at = -inf
        self._reasons: dict[HoldName, dict[object, str]] = {}  # of every waiter, in the order of declaration

    @property
    def current(self) -> dict[HoldName, Hold]:
        """A copy of the holds in force."""
        return dict(self._holds)

    @property
    def quiet_s(self) -> float:
        """Seconds since the last hold cleared, without end if there was none; 0 while anything holds."""
        return 0.0 if self._holds else self._clock() - self._cleared_at

    def __bool__(self) -> bool:
        """True while anything holds."""
        return bool(self._holds)

    @contextmanager
    def waiter(self, name: HoldName) -> Iterator[Callable[[str], None]]:
        """Give a function that declares a hold; it is in force until the last declarer leaves its block.

        One waiter's success says nothing of the others: a verdict delivered to one topic does not
        clear the hold of a verdict that another topic refuses. The reason shown is the latest of
        who has waited longest.
        """
        declare = self.declarer(name)
        try:
            yield declare
        finally:
            declare(None)

    def declarer(self, name: HoldName) -> Callable[[str | None], None]:
        """Give a function that declares a hold, for a waiter without a block; None ends it."""
        waiter = object()
        reasons = self._reasons.setdefault(name, {})

        def declare(reason: str | None) -> None:
            if reason is not None:
                reasons[waiter] = reason
                self._show(name)
            elif reasons.pop(waiter, None) is not None:
                self._show(name)

        return declare

    def _show(self, name: HoldName) -> None:
        reason, hold = next(iter(self._reasons[name].values()), None), self._holds.get(name)
        if reason is None:
            self._clear(name)
        elif hold is not None:
            self._holds[name] = Hold(reason, hold.since)
        else:
            self._holds[name] = Hold(reason, self._clock())
            self._on_change(name, True)
            _log.warning("hold_declared", hold=name, reason=reason)

    def _clear(self, name: HoldName) -> None:
        hold = self._holds.pop(name)
        self._cleared_at = self._clock()
        self._on_change(name, False)
        _log.info("hold_cleared", hold=name, held_s=round(self._clock() - hold.since, 3))
