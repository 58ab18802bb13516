"""Block-volume breakers over the control topic: shared by workers, reset by a command, kept over a restart."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from confluent_kafka import Producer

from support.collector import account, ends
from support.workers import until

if TYPE_CHECKING:
    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

POLICY = """
name: hasty
version: "{version}"
rules:
  block_at: {{unsafe: 0.0}}   # the bad rule: everything is blocked
  review_at: {{unsafe: null, risk: null}}
  block_breaker: {{share: null, count: {count}, interval_seconds: 3600}}
"""
_SOON_S = 30.0


def status(lane: Lane) -> list[dict[str, Any]]:
    done = lane.command("breaker", "status", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ready(worker: WorkerProcess) -> dict[str, Any]:
    body = worker.get("/readyz")[1]
    return json.loads(body) if body else {}


def wait_breakers(worker: WorkerProcess, tenants: list[str]) -> None:
    until(f"open for {tenants}", lambda: ready(worker).get("breakers_open") == tenants, within_s=10)


def posts(first: int, count: int, tenant: str = "forum") -> list[dict[str, Any]]:
    return [
        {"id": f"p{number}", "text": f"text {number}", "tenant": tenant}
        for number in range(first, first + count)
    ]


def actions(lane: Lane) -> Counter[str]:
    return Counter(record.body["action"] for record in lane.read())


def test_two_workers_share_a_trip_and_a_reset_from_another_process(lane: Lane) -> None:
    policy = lane.set_policy(POLICY.format(version="1", count=20))
    workers = [lane.start(policy) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    sent = lane.send(posts(0, 300))
    lane.wait_answers(300, within_s=_SOON_S)
    for worker in workers:
        wait_breakers(worker, ["forum"])
        assert worker.metric("sluicegate_block_breaker_open") == 1
    before = actions(lane)
    assert before["block"] <= 40  # each worker lets no more than its count through
    assert before["block"] + before["review"] == 300
    withheld = [record.body for record in lane.read() if record.body["breaker"]]
    assert len(withheld) == before["review"]
    assert {one["breaker"]["action"] for one in withheld} == {"block"}
    assert {one["policy"]["rule"] for one in withheld} == {"block_at.unsafe>=0"}
    (known,) = status(lane)
    assert (known["state"], known["tenant"], known["generation"]) == ("open", "forum", 0)
    assert "posts blocked in 3600 s" in known["why"]

    done = lane.command("breaker", "reset", "forum", "--reason", "looked at")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("forum: reset, under policy sha256:")
    for worker in workers:
        wait_breakers(worker, [])
        assert worker.metric("sluicegate_block_breaker_open") == 0
        assert '"block_breaker_reset"' in worker.output
    sent += lane.send(posts(300, 10))
    lane.wait_answers(310, within_s=_SOON_S)
    assert actions(lane)["block"] == before["block"] + 10
    (known,) = status(lane)
    assert (known["state"], known["generation"], known["why"]) == ("closed", 1, "looked at")
    again = lane.command("breaker", "reset", "forum", "--reason", "twice")
    assert again.returncode == 1
    assert "`sluicegate breaker status`" in again.stderr

    # A second turn, on one partition: only its worker sees the posts, and both know.
    tripped = [worker.metric("sluicegate_block_breaker_trips_total") for worker in workers]
    alone = [one for one in posts(310, 1000) if crc32(one["id"].encode()) % 3 == 0][:60]
    more = lane.send(alone)
    assert {one.partition for one in more} == {0}
    lane.wait_answers(310 + len(more), within_s=_SOON_S)
    for worker in workers:
        wait_breakers(worker, ["forum"])
    now_tripped = [worker.metric("sluicegate_block_breaker_trips_total") for worker in workers]
    assert sum(now_tripped) == sum(tripped) + 1
    (known,) = status(lane)
    assert (known["state"], known["generation"]) == ("open", 1)
    sent += more
    found = account(sent, lane.read())
    assert (found.lost, found.two_actions) == ((), ())


def test_a_worker_that_starts_anew_knows_what_tripped_and_another_policy_begins_closed(lane: Lane) -> None:
    policy = lane.set_policy(POLICY.format(version="1", count=5))
    worker = lane.start(policy)
    worker.wait_ready()
    lane.send(posts(0, 50))
    lane.wait_answers(50, within_s=_SOON_S)
    until("a trip that is told", lambda: status(lane), within_s=10)
    worker.kill()
    second = lane.start(policy)
    second.wait_ready()
    assert ready(second)["breakers_open"] == ["forum"]
    assert ready(second)["control"] == "followed"
    before = actions(lane)["block"]
    assert before == 5
    lane.send(posts(50, 20))
    lane.wait_answers(70, within_s=_SOON_S)
    assert actions(lane)["block"] == before
    lane.send(posts(70, 3, tenant="another"))
    lane.wait_answers(73, within_s=_SOON_S)
    assert actions(lane)["block"] == before + 3
    lane.set_policy(POLICY.format(version="2", count=5))
    until("the other policy", lambda: second.metric("sluicegate_policy_reloads_total"), within_s=20)
    assert ready(second)["breakers_open"] == []
    lane.send(posts(73, 4))
    lane.wait_answers(77, within_s=_SOON_S)
    assert actions(lane)["block"] == before + 7


def test_hostile_records_on_the_control_topic_do_no_harm(lane: Lane) -> None:
    producer = Producer({"bootstrap.servers": lane.bootstrap, "log_level": 2})
    topic = f"{lane.prefix}.control"
    for key, value in [
        (b"x", b"{"),
        (b"x", b'{"kind": "block-breaker", "tenant": "\\u001b[2J"}'),
        (None, b"[" * 900_000),
        (b"block-breaker forum x 0 open", None),
        (None, b'{"kind": "deadletter-replay", "topic": "posts", "at": "now"}'),
    ]:
        producer.produce(topic, value, key)
    assert producer.flush(20) == 0
    worker = lane.start(lane.set_policy(POLICY.format(version="1", count=5)))
    worker.wait_ready()
    assert ready(worker)["control"] == "followed"
    assert worker.metric("sluicegate_control_records_refused_total") == 3
    lane.send(posts(0, 3))
    lane.wait_answers(3, within_s=_SOON_S)
    assert actions(lane) == {"block": 3}
    done = lane.command("breaker", "status")
    assert (done.returncode, done.stdout) == (0, "no breaker has tripped\n")
    assert done.stderr == "3 records are not what they claim and were passed over\n"


def test_without_the_control_topic_a_worker_judges_with_breakers_of_its_own(
    lane: Lane, kafka: ApacheKafka
) -> None:
    topic = f"{lane.prefix}.absent"
    policy = lane.set_policy(POLICY.format(version="1", count=5))
    worker = lane.start(policy | {"topics.control": topic})
    worker.wait_ready()
    assert worker.get("/livez")[0] == 200
    assert ready(worker)["control"].startswith(
        f"topic {topic} is not there, or not for this user; `sluicegate topics create`"
    )
    assert worker.metric("sluicegate_control_topic_followed") == 0
    lane.send(posts(0, 30))
    lane.wait_answers(30, within_s=_SOON_S)
    assert actions(lane) == {"block": 5, "review": 25}
    assert ready(worker)["breakers_open"] == ["forum"]
    kafka.create_topic(topic, 1, config={"cleanup.policy": "compact"})
    until("the topic is followed", lambda: ready(worker)["control"] == "followed", within_s=60)
    until("the trip is told", lambda: sum(ends(lane.bootstrap, topic).values()), within_s=60)
    worker.terminate()
    assert worker.wait(30) == 0
