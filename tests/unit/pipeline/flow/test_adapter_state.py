"""The circuit breaker as a machine: no engine, a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.flow.adapter_state import AdapterState, Availability, CallOutcome

if TYPE_CHECKING:
    from sluicegate.pipeline.flow.adapter_state import Leave

UP, AWAY, ON_TRIAL = Availability.UP, Availability.AWAY, Availability.ON_TRIAL


class Rig:
    def __init__(self, *, mute_calls: int = 3, first_pause_s: float = 1.0) -> None:
        self.now = 100.0
        self.changes: list[Availability] = []
        self.state_machine = AdapterState(
            mute_calls=mute_calls,
            first_pause_s=first_pause_s,
            clock=lambda: self.now,
            on_change=lambda state, _reason: self.changes.append(state),
        )

    def admit(self) -> Leave:
        leave = self.state_machine.admit()
        assert leave is not None
        return leave

    def call(self, outcome: CallOutcome, reason: str = "") -> None:
        self.state_machine.report(self.admit(), outcome, reason)

    def state(self) -> Availability:
        """Read anew: the type checker would remember the last comparison."""
        return self.state_machine.state

    def wait_to_ask(self) -> float:
        """Seconds until the engine may be asked for its health, in steps that binary numbers hold exactly."""
        before = self.now
        while not self.state_machine.begin_asking():
            self.now += 0.125
        return self.now - before

    def half_open(self) -> None:
        self.wait_to_ask()
        self.state_machine.asked(healthy=True)
        assert self.state() is ON_TRIAL


def test_closed_it_lets_any_number_of_calls_through() -> None:
    rig = Rig()
    leaves = [rig.admit() for _ in range(5)]
    for leave in leaves:
        rig.state_machine.report(leave, CallOutcome.ANSWERED)
    assert rig.changes == []


def test_an_engine_that_is_away_opens_it_at_once_and_nothing_passes() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY, "refused")
    assert rig.state() is AWAY
    assert rig.state_machine.reason == "refused"
    assert rig.state_machine.admit() is None


def test_calls_in_a_row_without_any_answer_open_it_and_one_answer_starts_the_count_anew() -> None:
    rig = Rig(mute_calls=3)
    for outcome in (
        CallOutcome.MUTE,
        CallOutcome.MUTE,
        CallOutcome.ANSWERED,
        CallOutcome.MUTE,
        CallOutcome.MUTE,
    ):
        rig.call(outcome)
        assert rig.state() is UP
    rig.call(CallOutcome.NOTHING)
    assert rig.state() is UP
    rig.call(CallOutcome.MUTE)
    assert rig.state() is AWAY
    assert "3 calls in a row" in rig.state_machine.reason


def test_one_at_a_time_asks_for_health_and_only_after_the_pause() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY)
    assert not rig.state_machine.begin_asking()
    assert rig.wait_to_ask() == 1.0
    assert not rig.state_machine.begin_asking()
    rig.state_machine.asked(healthy=False)
    assert rig.state() is AWAY


def test_the_pause_between_questions_doubles_up_to_five_seconds() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY)
    pauses = []
    for _ in range(5):
        pauses.append(rig.wait_to_ask())
        rig.state_machine.asked(healthy=False)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_half_open_one_call_passes_on_trial_and_its_answer_closes_it() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY, "refused")
    rig.half_open()
    trial = rig.admit()
    assert rig.state_machine.admit() is None
    rig.state_machine.report(trial, CallOutcome.ANSWERED)
    assert rig.changes == [AWAY, ON_TRIAL, UP]
    assert rig.state_machine.reason == ""
    rig.admit()
    rig.admit()


def test_a_trial_that_says_nothing_makes_room_for_the_next() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY)
    rig.half_open()
    rig.call(CallOutcome.NOTHING)
    assert rig.state() is ON_TRIAL
    rig.call(CallOutcome.ANSWERED)
    assert rig.state() is UP


def test_a_healthy_engine_that_goes_away_on_trial_is_asked_again_after_the_first_pause() -> None:
    rig = Rig()
    rig.call(CallOutcome.AWAY)
    for _ in range(3):
        rig.half_open()
        rig.call(CallOutcome.AWAY)
        assert rig.wait_to_ask() == 1.0
        rig.state_machine.asked(healthy=True)
        rig.call(CallOutcome.AWAY)


def test_mute_trials_of_a_healthy_engine_grow_rarer_up_to_one_a_minute_and_never_cease() -> None:
    rig = Rig(mute_calls=1)
    rig.call(CallOutcome.MUTE)
    pauses = []
    for _ in range(9):
        pauses.append(rig.wait_to_ask())
        rig.state_machine.asked(healthy=True)
        rig.call(CallOutcome.MUTE)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    for _ in range(2000):  # and no number of them is too much
        rig.now += 60
        assert rig.state_machine.begin_asking()
        rig.state_machine.asked(healthy=True)
        rig.call(CallOutcome.MUTE)


def test_what_was_sent_before_it_turned_tells_nothing_of_now() -> None:
    rig = Rig()
    early, late = rig.admit(), rig.admit()
    rig.call(CallOutcome.AWAY)
    rig.state_machine.report(early, CallOutcome.ANSWERED)
    assert rig.state() is AWAY
    rig.half_open()
    rig.state_machine.report(late, CallOutcome.AWAY)
    assert rig.state() is ON_TRIAL
    assert rig.state_machine.admit() is not None


_STEPS = st.lists(st.sampled_from(["admit", "wait", "well", "ill", *CallOutcome]), max_size=60)


@given(_STEPS)
def test_whatever_happens_nothing_passes_while_it_is_open_and_it_can_always_close_again(
    steps: list[str | CallOutcome],
) -> None:
    rig = Rig()
    out: list[Leave] = []
    for step in steps:
        if isinstance(step, CallOutcome):
            if out:
                rig.state_machine.report(out.pop(), step)
        elif step == "wait":
            rig.now += 7
        elif step == "admit":
            out += [leave for leave in [rig.state_machine.admit()] if leave is not None]
            assert rig.state() is not AWAY or rig.state_machine.admit() is None
        elif rig.state_machine.begin_asking():
            rig.state_machine.asked(healthy=step == "well")
    for leave in out:
        rig.state_machine.report(leave, CallOutcome.NOTHING)
    if rig.state() is AWAY:
        rig.half_open()
    rig.call(CallOutcome.ANSWERED)
    assert rig.state() is UP


@pytest.mark.parametrize("pause_s", [0.2, 30.0])
def test_the_pause_never_falls_below_the_first_one(pause_s: float) -> None:
    rig = Rig(first_pause_s=pause_s)
    rig.call(CallOutcome.AWAY)
    assert rig.wait_to_ask() == pytest.approx(pause_s, abs=0.13)
    rig.state_machine.asked(healthy=False)
    assert rig.wait_to_ask() >= pause_s - 0.13


@pytest.mark.parametrize(
    ("calls", "said"), [(1, "no answer to a call"), (2, "no answer to 2 calls in a row")]
)
def test_people_are_told_how_many_calls_stayed_without_an_answer(calls: int, said: str) -> None:
    rig = Rig(mute_calls=calls)
    for _ in range(calls):
        rig.call(CallOutcome.MUTE)
    assert rig.state_machine.reason.endswith(said)


def test_an_engine_that_says_it_is_not_well_is_away_at_once_and_asked_after_its_first_pause() -> None:
    rig = Rig(first_pause_s=2.0)
    rig.state_machine.leave("it is loading")
    assert rig.state() is AWAY
    assert rig.state_machine.reason == "it is loading"
    assert rig.wait_to_ask() == 2.0
