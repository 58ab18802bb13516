"""SIGTERM: a worker leaves within its budget, answers what it can, and hands on the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.collector import account, committed
from support.workers import QUICK, until

if TYPE_CHECKING:
    from support.workers import Lane

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# The budget, and what the interpreter takes to go.
LEAVE_S = float(QUICK["drain.budget_s"]) + 3


def test_a_worker_told_to_stop_under_load_answers_what_it_took_and_loses_nothing(lane: Lane) -> None:
    lane.set_fake(call_overhead_s=1)
    small = {"window.posts": "400"}  # 400 a second: half a minute for the posts
    first = lane.start(small)
    first.wait_ready()
    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(10_000))
    lane.wait_answers(200, within_s=30)
    first.terminate()
    assert first.wait(LEAVE_S) == 0
    answered = lane.answers()
    assert 200 <= answered < 10_000, "the worker was not stopped in the middle"
    assert sum(committed(lane.bootstrap, lane.group, lane.posts).values()) <= answered

    lane.set_fake()
    lane.start().wait_ready()
    lane.wait_acknowledged(within_s=30)
    found = account(sent, lane.read())
    print(f"SIGTERM after {answered} of 10,000 answers: {found.repeats_same_id} repeats")
    assert found.lost == ()
    assert found.repeats_other_id == 0
    assert found.two_actions == ()


def test_a_worker_told_to_stop_in_a_hold_hands_its_posts_on(lane: Lane) -> None:
    first = lane.start()
    first.wait_ready()
    lane.set_faults(die=True)
    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(100))
    until("the hold is declared", lambda: first.metric("sluicegate_hold") == 1, within_s=30)
    until("all posts are held", lambda: first.metric("sluicegate_window_posts") == 100, within_s=30)
    first.terminate()
    assert first.wait(LEAVE_S) == 0
    assert lane.answers() == 0
    assert sum(committed(lane.bootstrap, lane.group, lane.posts).values()) == 0

    lane.set_faults()
    lane.start().wait_ready()
    lane.wait_acknowledged(within_s=30)
    found = account(sent, lane.read())
    assert found.lost == ()
    assert found.verdicts == 100


def test_a_rolling_replacement_under_load_loses_nothing(lane: Lane) -> None:
    lane.set_fake(call_overhead_s=1)
    small = {"window.posts": "400"}  # so that a handover is over before the posts are: 400 a second
    first = lane.start(small)
    first.wait_ready()
    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(10_000))
    lane.wait_answers(300, within_s=30)
    second = lane.start(small)
    second.wait_ready()
    until(
        "the second reads a partition",
        lambda: second.metric("sluicegate_partitions_assigned") > 0,
        within_s=30,
    )
    joined_after = lane.answers()
    first.terminate()
    assert first.wait(LEAVE_S) == 0
    left_after = lane.answers()
    assert left_after < 10_000, "all was over before the first worker left"
    lane.wait_acknowledged(within_s=60)
    found = account(sent, lane.read())
    print(
        f"second joined after {joined_after}, first left after {left_after}: {found.repeats_same_id} repeats"
    )
    assert found.lost == ()
    assert found.repeats_other_id == 0
    assert found.two_actions == ()
