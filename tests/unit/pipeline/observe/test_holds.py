from __future__ import annotations

from contextlib import ExitStack

import pytest

from sluicegate.pipeline.observe.holds import Holds


def make() -> tuple[Holds, list[tuple[str, bool]]]:
    changes: list[tuple[str, bool]] = []
    return Holds(lambda: 5.0, lambda name, holding: changes.append((name, holding))), changes


def test_a_hold_is_in_force_from_its_declaration_to_the_end_of_the_block() -> None:
    holds, changes = make()
    with holds.waiter("engine") as declare:
        assert not holds
        declare("away")
        assert holds
        assert holds.current["engine"].reason == "away"
        declare("still away")
        assert holds.current["engine"].reason == "still away"
        assert holds.current["engine"].since == 5.0
    assert not holds
    assert changes == [("engine", True), ("engine", False)]


def test_one_waiters_success_does_not_clear_anothers_hold() -> None:
    holds, _ = make()
    with holds.waiter("publish") as first:
        first("topic a")
        with holds.waiter("publish") as second:
            second("topic b")
            assert holds.current["publish"].reason == "topic a"
        assert holds.current["publish"].reason == "topic a"


def test_the_reason_shown_is_that_of_one_who_still_waits() -> None:
    holds, changes = make()
    with ExitStack() as later:
        with holds.waiter("publish") as first:
            first("topic a")
            later.enter_context(holds.waiter("publish"))("topic b")
        assert holds.current["publish"].reason == "topic b"
        assert changes == [("publish", True)]
    assert not holds


def test_a_waiter_that_declares_nothing_changes_nothing() -> None:
    holds, changes = make()
    with holds.waiter("engine") as declare:
        declare("away")
        with holds.waiter("engine"):
            pass
        assert holds
    assert changes == [("engine", True), ("engine", False)]


def test_a_cancelled_waiter_leaves_no_hold_behind() -> None:
    holds, _ = make()
    with pytest.raises(KeyboardInterrupt), holds.waiter("engine") as declare:
        declare("away")
        raise KeyboardInterrupt
    assert not holds
