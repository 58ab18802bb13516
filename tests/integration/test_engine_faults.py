"""What a broken engine may do to a post: give it its tenant's failure mode, or keep it waiting. Never allow it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.collector import account
from support.workers import open_lane, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

POLICY = """
name: faults
version: "1"
rules: {failure_mode: review}
tenants:
  careful: {rules: {failure_mode: block}}
"""


@pytest.fixture(scope="module")
def faulty(
    kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lane, WorkerProcess]]:
    """One worker for the whole table; each row has posts of its own."""
    with open_lane(kafka, tmp_path_factory.mktemp("faulty"), partitions=3) as lane:
        worker = lane.start({"engine.score_timeout_s": "1"} | lane.set_policy(POLICY))
        worker.wait_ready()
        yield lane, worker


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("garble", "unparsable"),
        ("hang", "timed_out"),
        ("empty", "empty_completion"),
        ("error", "engine_error"),
        ("labels_missing", "labels_missing"),
    ],
)
def test_every_post_of_a_failed_micro_batch_gets_its_tenants_failure_mode(
    faulty: tuple[Lane, WorkerProcess], fault: str, code: str
) -> None:
    lane, worker = faulty
    tenants = ("default", "careful")
    posts = [
        {"id": f"{fault}-{number}", "text": f"{fault} {number}", "tenant": tenants[number % 2]}
        for number in range(20)
    ]
    lane.set_faults(**{fault: True})
    sent = lane.send(posts)
    lane.wait_acknowledged(within_s=30)
    lane.set_faults()

    records = [record for record in lane.read() if record.body.get("post_id", "").startswith(f"{fault}-")]
    assert account(sent, records).lost == ()
    assert len(records) == len(posts)
    for record in records:
        mode = {"default": "review", "careful": "block"}[record.body["tenant"]]
        assert record.topic == lane.outputs[mode]
        assert record.body["action"] == mode
        assert record.body["failure"] == {"code": code, "mode": mode}
        assert record.body["assessed_by"] == "none"
        assert record.body["severity"] is None
        assert record.body["scores"] is None
    assert worker.ready()


def test_one_poisonous_post_fails_alone(faulty: tuple[Lane, WorkerProcess]) -> None:
    lane, _ = faulty
    lane.set_faults(garble={"marker": "poison"})
    lane.send(
        {"id": f"mixed-{number}", "text": "poison" if number == 7 else f"harmless {number}"}
        for number in range(16)
    )
    lane.wait_acknowledged(within_s=30)
    lane.set_faults()

    failed = {
        record.body["post_id"]
        for record in lane.read()
        if record.body.get("post_id", "").startswith("mixed-") and record.body["failure"]
    }
    assert failed == {"mixed-7"}


def test_an_engine_that_is_away_holds_the_stream_until_it_is_back(lane: Lane) -> None:
    def holds() -> Any:
        return "engine" in worker.get("/readyz")[1] and worker.metric("sluicegate_hold") == 1

    worker = lane.start()
    worker.wait_ready()
    lane.set_faults(die=True)
    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(100))
    until("/readyz names the hold", holds, within_s=30)
    assert worker.get("/livez")[0] == 200
    assert lane.answers() == 0

    lane.set_faults()
    lane.wait_acknowledged(within_s=30)
    assert worker.ready()
    assert worker.metric("sluicegate_hold") == 0

    records = lane.read()
    found = account(sent, records)
    assert found.lost == ()
    assert found.verdicts == 100
    assert all(record.body["failure"] is None for record in records)


def test_a_worker_whose_engine_never_answered_is_unready_joins_no_group_and_answers_once_it_is_put_right(
    lane: Lane,
) -> None:
    def says_why() -> Any:
        return (
            "switched off by its fault" in worker.get("/readyz")[1] and worker.metric("sluicegate_hold") == 1
        )

    lane.set_faults(die=True)
    worker = lane.start()
    sent = lane.send({"id": f"post-{number}", "text": f"post number {number}"} for number in range(50))
    until("/readyz names the engine, and that is a hold", says_why, within_s=60)
    status, body = worker.get("/readyz")
    assert (status, json.loads(body)["group"]) == (503, False)
    assert worker.get("/livez")[0] == 200
    assert lane.answers() == 0

    lane.set_faults()
    worker.wait_ready()
    lane.wait_acknowledged(within_s=60)
    found = account(sent, lane.read())
    assert (found.lost, found.verdicts) == ((), 50)
    assert worker.metric("sluicegate_hold") == 0


IMPATIENT = """
name: impatient
version: "1"
tenants:
  impatient: {rules: {max_wait_seconds: 1, failure_mode: block}}
"""


def test_a_tenant_who_waits_no_longer_gets_its_failure_mode_while_the_others_wait(lane: Lane) -> None:
    worker = lane.start(lane.set_policy(IMPATIENT))
    worker.wait_ready()
    lane.set_faults(die=True)
    tenants = ("default", "impatient")
    sent = lane.send(
        {"id": f"post-{number}", "text": f"post {number}", "tenant": tenants[number % 2]}
        for number in range(20)
    )
    lane.wait_answers(10, within_s=30)
    assert {record.body["tenant"] for record in lane.read()} == {"impatient"}
    lane.set_faults()
    lane.wait_acknowledged(within_s=30)

    records = lane.read()
    assert account(sent, records).lost == ()
    assert len(records) == 20
    for record in records:
        if record.body["tenant"] == "impatient":
            assert record.body["failure"] == {"code": "engine_unavailable", "mode": "block"}
        else:
            assert record.body["failure"] is None
