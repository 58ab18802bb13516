"""SIGTERM: a worker leaves within its budget, answers what it can, and hands on the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.collector import account, committed
from support.kafka import ApacheKafka
from support.workers import LEAVE_S, open_lane, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.workers import Lane

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


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


def test_a_worker_told_to_stop_while_it_waits_for_the_group_leaves_and_leaves_nobody_behind(
    lane: Lane,
) -> None:
    slow = {"kafka.session_timeout_s": "30"}  # for so long the group waits for the one that is killed
    dead = lane.start(slow)
    dead.wait_ready()
    dead.kill()
    waiting = lane.start(slow)
    until("it has asked to join", lambda: "worker_started" in waiting.output, within_s=30)
    assert not waiting.ready()
    waiting.terminate()
    assert waiting.wait(LEAVE_S) == 0

    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(30))
    lane.start(slow).wait_ready()
    lane.wait_acknowledged(within_s=60)  # once the dead one is given up, and no other is waited for
    assert account(sent, lane.read()).lost == ()


def test_a_crash_and_its_replacement_silence_no_other_worker(kafka: ApacheKafka, tmp_path: Path) -> None:
    slow = {"kafka.session_timeout_s": "45"}
    with open_lane(kafka, tmp_path, partitions=4) as lane:
        workers = [lane.start(slow) for _ in range(2)]
        for worker in workers:
            worker.wait_ready()
        until(
            "both have partitions",
            lambda: [one.metric("sluicegate_partitions_assigned") for one in workers] == [2, 2],
            within_s=60,
        )
        workers[0].kill()
        lane.start(slow)  # it joins a group that waits for the dead one
        sent = []
        for turn in range(20):
            sent += lane.send({"id": f"{turn}-{number}", "text": f"{turn} {number}"} for number in range(8))
            time.sleep(0.5)
        # The dead one's session is not over by far: its two partitions stand, and the other two do not.
        lane.wait_answers(len(sent) // 2, within_s=5)
        assert lane.answers() < len(sent)
        lane.wait_acknowledged(within_s=90)
        assert account(sent, lane.read()).lost == ()


def test_brokers_that_are_away_cost_a_line_for_each_change_of_state(tmp_path: Path) -> None:
    with ApacheKafka() as kafka, open_lane(kafka, tmp_path, partitions=3) as lane:
        worker = lane.start()
        worker.wait_ready()
        sent = lane.send({"id": f"post-{number}", "text": f"post {number}"} for number in range(30))
        lane.wait_acknowledged(within_s=30)
        before = len(worker.output.splitlines())
        kafka.kill()
        until("the hold is declared", lambda: worker.metric("sluicegate_hold") >= 1, within_s=60)
        time.sleep(15)
        kafka.restart()
        until("the hold is over", lambda: worker.metric("sluicegate_hold") == 0, within_s=60)
        sent += lane.send({"id": f"later-{number}", "text": f"later {number}"} for number in range(30))
        lane.wait_acknowledged(within_s=60)
        lines = worker.output.splitlines()[before:]
        print(f"{len(lines)} lines: {[line[:160] for line in lines]}")
        assert len(lines) <= 12
        assert account(sent, lane.read()).lost == ()
