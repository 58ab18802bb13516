"""The engine's circuit breaker: one for all micro-batches, so that a broken engine is met a few times, not by every post.

Closed, everything passes. Open, nothing is sent: whoever waits asks the engine for its health, one at a
time. Half-open, one call passes on trial. The machine is pure but for the clock that it is given; the
judge waits, asks and sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

from sluicegate.engines.protocol import ItemFailure
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PROBE_MOST_S = 5.0
"""An engine that is back is noticed within so long; asking costs it one token."""
_TRIAL_MOST_S = 60.0
"""A trial that fails costs its posts their judgement, so trials grow rarer, but never cease."""


class CircuitState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(Enum):
    """What a call tells of the engine."""

    ANSWERED = auto()
    """It is at work: at least one item was answered, be it by a refusal that concerns the item."""
    MUTE = auto()
    """It was there, and every item timed out or met an error of the engine."""
    AWAY = auto()
    """It could not be reached, or broke off the whole call."""
    NOTHING = auto()
    """The call was cancelled, or no item needed the engine."""


_MUTE = (FailureCode.TIMED_OUT, FailureCode.ENGINE_ERROR, FailureCode.INTERNAL)


def told_by(answers: Sequence[object]) -> Outcome:
    """What the answers of one call tell of the engine. A text that is too long was sent to none."""
    codes = [answer.code if isinstance(answer, ItemFailure) else None for answer in answers]
    asked = [code for code in codes if code is not FailureCode.TOO_LONG]
    if not asked:
        return Outcome.NOTHING
    return Outcome.MUTE if all(code in _MUTE for code in asked) else Outcome.ANSWERED


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to make one call; what the call tells counts only while the circuit has not turned meanwhile."""

    turn: int


class Circuit:
    """Opens when the engine is away, or mute too often in a row; closes when a call on trial is answered.

    Args:
        mute_calls: So many calls in a row without any answer open it.
        first_pause_s: How long it stays open before the engine is asked for its health. Doubles up to
            5 s while the engine is not healthy, and up to 60 s while it is healthy and trials stay mute.
        clock: Monotonic seconds.
        on_change: Gets every new state and why.
    """

    def __init__(
        self,
        *,
        mute_calls: int,
        first_pause_s: float,
        clock: Callable[[], float],
        on_change: Callable[[CircuitState, str], None],
    ) -> None:
        self._mute_calls = mute_calls
        self._first_pause_s = first_pause_s
        self._clock = clock
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._reason = ""
        self._turn = 0
        self._mute = 0  # calls in a row, while closed; trials in a row, from then on
        self._pause_s = first_pause_s
        self._ask_at = 0.0
        self._asking = self._trying = False

    @property
    def state(self) -> CircuitState:
        """The state now."""
        return self._state

    @property
    def closed(self) -> bool:
        """True while everything passes."""
        return self._state is CircuitState.CLOSED

    @property
    def reason(self) -> str:
        """Why it is not closed; empty while it is."""
        return self._reason

    def admit(self) -> Leave | None:
        """Leave for one call, if calls pass now. Every leave must be reported."""
        if self._state is CircuitState.OPEN or self._trying:
            return None
        self._trying = self._state is CircuitState.HALF_OPEN
        return Leave(self._turn)

    def report(self, leave: Leave, outcome: Outcome, reason: str = "") -> None:
        """Say what a call told of the engine; ``reason`` is for people, and never holds text of a post."""
        if leave.turn != self._turn:
            return  # sent before the circuit turned: it tells of an engine as it was
        self._trying = False
        if outcome is Outcome.ANSWERED:
            self._mute = 0
            if not self.closed:
                self._change(CircuitState.CLOSED, "")
        elif outcome is Outcome.AWAY:
            self._mute = 0
            self._open(self._first_pause_s, reason)
        elif outcome is Outcome.MUTE:
            self._mute += 1
            if not self.closed:
                self._open(min(self._first_pause_s * 2 ** min(self._mute, 16), _TRIAL_MOST_S), self._reason)
            elif self._mute >= self._mute_calls:
                self._mute = 0
                calls = f"{self._mute_calls} calls in a row" if self._mute_calls > 1 else "a call"
                self._open(self._first_pause_s, f"the engine is there, but gave no answer to {calls}")

    def begin_asking(self) -> bool:
        """True for whoever shall ask the engine for its health now; :meth:`asked` must follow."""
        due = self._state is CircuitState.OPEN and not self._asking and self._clock() >= self._ask_at
        self._asking = self._asking or due
        return due

    def asked(self, *, healthy: bool) -> None:
        """Say what the engine's health is."""
        self._asking = False
        if healthy:
            self._change(CircuitState.HALF_OPEN, self._reason)
        else:
            self._pause_s = min(self._pause_s * 2, max(_PROBE_MOST_S, self._first_pause_s))
            self._ask_at = self._clock() + self._pause_s

    def _open(self, pause_s: float, reason: str) -> None:
        self._pause_s = pause_s
        self._ask_at = self._clock() + pause_s
        self._change(CircuitState.OPEN, reason)

    def _change(self, state: CircuitState, reason: str) -> None:
        self._state, self._reason = state, reason
        self._turn += 1
        self._on_change(state, reason)
