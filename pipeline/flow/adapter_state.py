"""One adapter on a server: up, away or on trial, so that a broken engine is met a few times, not by every post.

Up, every call passes. Away, nothing is sent: one of those who wait asks the engine for its health. On trial, one
call passes. The machine is pure but for the clock that it is given. It is the part of
:class:`~sluicegate.pipeline.flow.server_state.ServerState` that an adapter has for itself, since an adapter can be
missing or mute on a server that is well.
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


class Availability(StrEnum):
    """Whether calls pass. The values are the labels of ``sluicegate_engine_circuit``."""

    UP = "closed"
    AWAY = "open"
    ON_TRIAL = "half_open"


class CallOutcome(Enum):
    """What a call tells of the engine."""

    ANSWERED = auto()
    """It is at work: at least one item was answered, even if by a refusal that concerns the item."""
    MUTE = auto()
    """It was there, and every item timed out or met an error of the engine."""
    AWAY = auto()
    """It could not be reached, or broke off the whole call."""
    NOTHING = auto()
    """The call was cancelled, or no item needed the engine."""


NO_ANSWER = (FailureCode.TIMED_OUT, FailureCode.ENGINE_ERROR, FailureCode.INTERNAL)
"""Failures that are no answer to the item: the engine, or the way to it, was at fault."""


def told_by(answers: Sequence[object]) -> CallOutcome:
    """What the answers of one call tell of the engine. A text that is too long was sent to none."""
    if answers and not isinstance(answers[0], ItemFailure):
        return CallOutcome.ANSWERED  # one answer says it, and most calls begin with one
    codes = [answer.code if isinstance(answer, ItemFailure) else None for answer in answers]
    asked = [code for code in codes if code is not FailureCode.TOO_LONG]
    if not asked:
        return CallOutcome.NOTHING
    return CallOutcome.MUTE if all(code in NO_ANSWER for code in asked) else CallOutcome.ANSWERED


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to make one call; what the call tells counts only while the state has not turned meanwhile."""

    turn: int


class AdapterState:
    """Away once the engine is, or once it was mute too often in a row; up once a call on trial is answered.

    Args:
        mute_calls: This many calls in a row without any answer make it away.
        first_pause_s: How long it stays so before the engine is asked for its health. Doubles up to
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
        on_change: Callable[[Availability, str], None],
    ) -> None:
        self._mute_calls = mute_calls
        self._first_pause_s = first_pause_s
        self._clock = clock
        self._on_change = on_change
        self._state = Availability.UP
        self._reason = ""
        self._turn = 0
        self._mute = 0  # calls in a row, while up; trials in a row, from then on
        self._pause_s = first_pause_s
        self._ask_at = 0.0
        self._asking = self._trying = False
        self._left_at: float | None = None
        self.up_since = float("-inf")
        """Monotonic seconds at which it was last back at work."""
        self.answered_at = float("-inf")
        """Monotonic seconds of the last call that was answered."""

    @property
    def state(self) -> Availability:
        """The state now."""
        return self._state

    @property
    def up(self) -> bool:
        """True while everything passes."""
        return self._state is Availability.UP

    @property
    def away(self) -> bool:
        """True while nothing passes."""
        return self._state is Availability.AWAY

    @property
    def away_since(self) -> float | None:
        """Monotonic seconds at which it left its work; None while it is up, or on trial."""
        return self._left_at if self.away else None

    @property
    def reason(self) -> str:
        """Why it is not up; empty while it is."""
        return self._reason

    def admit(self) -> Leave | None:
        """Leave for one call, if calls pass now. Every leave must be reported."""
        if self._state is Availability.AWAY or self._trying:
            return None
        self._trying = self._state is Availability.ON_TRIAL
        return Leave(self._turn)

    def report(self, leave: Leave, outcome: CallOutcome, reason: str = "") -> None:
        """Say what a call told of the engine; ``reason`` is for people, and never holds text of a post."""
        if outcome is CallOutcome.ANSWERED:
            self.answered_at = self._clock()
        if leave.turn != self._turn:
            return  # sent before it turned: it tells of an engine as it was
        self._trying = False
        if outcome is CallOutcome.ANSWERED:
            self._mute = 0
            if not self.up:
                self._change(Availability.UP, "")
        elif outcome is CallOutcome.AWAY:
            self._mute = 0
            self._leave(self._first_pause_s, reason)
        elif outcome is CallOutcome.MUTE:
            self._mute += 1
            if not self.up:
                self._leave(min(self._first_pause_s * 2 ** min(self._mute, 16), _TRIAL_MOST_S), self._reason)
            elif self._mute >= self._mute_calls:
                self._mute = 0
                calls = f"{self._mute_calls} calls in a row" if self._mute_calls > 1 else "a call"
                self._leave(self._first_pause_s, f"the engine is there, but gave no answer to {calls}")

    def leave(self, reason: str) -> None:
        """Say that the engine is not well, although no call has told so."""
        self._mute = 0
        self._leave(self._first_pause_s, reason)

    def begin_asking(self) -> bool:
        """True for the caller that is to ask the engine for its health now; :meth:`asked` must follow."""
        due = self._state is Availability.AWAY and not self._asking and self._clock() >= self._ask_at
        self._asking = self._asking or due
        return due

    def asked(self, *, healthy: bool) -> None:
        """Say what the engine's health is."""
        self._asking = False
        if healthy:
            self._change(Availability.ON_TRIAL, self._reason)
        else:
            self._pause_s = min(self._pause_s * 2, max(_PROBE_MOST_S, self._first_pause_s))
            self._ask_at = self._clock() + self._pause_s

    def _leave(self, pause_s: float, reason: str) -> None:
        self._pause_s = pause_s
        self._ask_at = self._clock() + pause_s
        self._change(Availability.AWAY, reason)

    def _change(self, state: Availability, reason: str) -> None:
        self._state, self._reason = state, reason
        if self.up:
            self._left_at, self.up_since = None, self._clock()
        elif self._left_at is None:
            self._left_at = self._clock()
        self._turn += 1
        self._on_change(state, reason)
