"""The promise: whatever is killed when, every accepted post is answered, and repeats are told by their id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.collector import account, committed
from support.imports import imported, watch
from support.workers import QUICK, open_lane, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def wait_shared(workers: list[WorkerProcess]) -> None:
    """Wait until every worker reads a partition, and all three are read."""

    def shares() -> list[float]:
        return [worker.metric("sluicegate_partitions_assigned") for worker in workers]

    until("each worker reads a partition", lambda: min(shares()) > 0 and sum(shares()) == 3, within_s=30)


def test_a_worker_killed_in_the_middle_of_5000_posts_loses_none(lane: Lane) -> None:
    lane.set_fake(call_overhead_s=0.2)  # some seconds for 5,000 posts
    workers = [lane.start(), lane.start()]
    for worker in workers:
        worker.wait_ready()
    wait_shared(workers)

    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(5000))
    lane.wait_answers(1000, within_s=60)
    workers[0].kill()
    assert lane.answers() < 5000, "the kill came too late to show anything"
    lane.wait_acknowledged(within_s=60)

    found = account(sent, lane.read())
    print(f"5,000 posts, one of two workers killed: {found.repeats_same_id} repeats, all with the same id")
    assert found.lost == ()
    assert found.repeats_other_id == 0
    assert found.two_actions == ()
    assert found.unasked == 0
    assert found.dead_letters == 0


def test_a_post_still_in_work_survives_a_kill_though_all_behind_it_were_answered(
    kafka: ApacheKafka, tmp_path: Path
) -> None:
    with open_lane(kafka, tmp_path, partitions=1) as lane:
        lane.set_faults(hang={"marker": "slow"})
        first = lane.start()
        first.wait_ready()
        sent = lane.send([{"id": "head", "text": "a slow one"}])
        until(
            "the head is in work", lambda: first.metric("sluicegate_engine_prompts_in_work") == 1, within_s=30
        )
        sent += lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(200))
        lane.wait_answers(200, within_s=30)
        time.sleep(5 * float(QUICK["kafka.commit_interval_s"]))  # commits may do their worst
        assert committed(lane.bootstrap, lane.group, lane.posts) == {0: 0}
        first.kill()

        lane.set_faults()
        lane.start().wait_ready()
        lane.wait_acknowledged(within_s=30)
        found = account(sent, lane.read())
        assert found.lost == ()
        assert found.repeats_same_id == 200
        assert found.repeats_other_id == 0


@pytest.mark.cpu_model
@pytest.mark.timeout(600)
def test_a_worker_killed_in_the_middle_of_300_posts_on_the_cpu_model_loses_none(
    lane: Lane, cpu_bundle: Path
) -> None:
    real = {"engine.backend": "llama_cpp", "engine.bundle": str(cpu_bundle), "engine.threads": "1"}
    real["log.level"] = "debug"
    watched = watch(lane.folder)
    workers = [lane.start(real, watched), lane.start(real, watched)]
    for worker in workers:
        worker.wait_ready()
    wait_shared(workers)

    openings = ("I like", "Nobody asked for", "You will regret", "Tell me more about", "Please stop")
    sent = lane.send(
        {"id": f"post-{number}", "text": f"{openings[number % 5]} answer number {number}."}
        for number in range(300)
    )
    lane.wait_answers(60, within_s=150)
    workers[0].kill()
    assert lane.answers() < 300, "the kill came too late to show anything"
    lane.wait_acknowledged(within_s=400)

    found = account(sent, lane.read())
    # A score moves a little with its company in the micro-batch, so a repeat may cross a threshold.
    print(
        f"300 posts on the CPU model, one of two workers killed: {found.repeats_same_id} repeats with the same id, "
        f"{found.repeats_other_id} with another"
    )
    assert found.lost == ()
    assert found.two_actions == ()
    assert found.unasked == 0

    assert not any("zymurgist" in worker.output for worker in workers), "a log holds the text of a post"
    asked_for = imported(lane.folder)
    assert "faust" in asked_for, "the watch saw nothing"
    assert asked_for.isdisjoint({"torch", "transformers", "tensorrt_llm"})
