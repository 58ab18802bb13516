"""The control topic grows, or is deleted and made again, under a running worker on Apache Kafka."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from integration.test_breaker_on_kafka import POLICY, posts, ready, status, wait_breakers

from sluicegate.pipeline.facts import BreakerFact
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION
from sluicegate.pipeline.settings.tree import KafkaSettings
from support.workers import until

if TYPE_CHECKING:
    from sluicegate.pipeline.kafka.reader import TopicRecord
    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

_PARTITIONS = 12
_SOON_S = 30.0


def tripped(lane: Lane) -> WorkerProcess:
    """A worker whose breaker for the forum is open, and that has told so."""
    worker = lane.start(lane.set_policy(POLICY.format(version="1", count=5)))
    worker.wait_ready()
    lane.send(posts(0, 20))
    lane.wait_answers(20, within_s=_SOON_S)
    wait_breakers(worker, ["forum"])
    until("a trip that is told", lambda: status(lane), within_s=_SOON_S)
    assert ready(worker)["control"] == "followed"
    return worker


def control(lane: Lane) -> str:
    return f"{lane.prefix}.control"


def admin(lane: Lane) -> AdminClient:
    return AdminClient({"bootstrap.servers": lane.bootstrap, "log_level": 0})


def grow(lane: Lane) -> None:
    topic, client = control(lane), admin(lane)
    client.create_partitions([NewPartitions(topic, _PARTITIONS)])[topic].result(30)
    until("all partitions have leaders", lambda: leaders(lane) == _PARTITIONS, within_s=_SOON_S)


def leaders(lane: Lane) -> int:
    topic = control(lane)
    found = admin(lane).list_topics(topic, timeout=10).topics[topic].partitions.values()
    return sum(one.leader >= 0 for one in found)


def reset_of(lane: Lane) -> BreakerFact:
    (known,) = status(lane)
    told: dict[str, Any] = known | {
        "state": "closed",
        "generation": known["generation"] + 1,
        "at": datetime.now(UTC),
    }
    return BreakerFact(**told)


def write(lane: Lane, fact: BreakerFact, partition: int) -> None:
    producer = Producer({"bootstrap.servers": lane.bootstrap, "log_level": 0})
    producer.produce(control(lane), fact.encode(), fact.key, partition)
    assert producer.flush(20) == 0


def records(lane: Lane) -> list[TopicRecord]:
    found = []
    kafka = KafkaSettings(bootstrap_servers=lane.bootstrap)
    with TopicReader(kafka, [control(lane)], start="beginning") as reader:
        while not reader.at_end:
            found += reader.read(0.2)
    return found


def test_a_reset_in_a_partition_that_was_added_is_heard(lane: Lane) -> None:
    worker = tripped(lane)
    grow(lane)
    write(lane, reset_of(lane), _PARTITIONS - 1)
    wait_breakers(worker, [])
    until("the topic is followed", lambda: ready(worker)["control"] == "followed", within_s=_SOON_S)
    assert worker.metric("sluicegate_control_topic_followed") == 1
    assert "has new partitions" in worker.output  # it did not say that it followed what it had not read


def test_a_reset_by_command_finds_what_stands_in_another_partition(lane: Lane) -> None:
    worker = tripped(lane)
    grow(lane)
    write(lane, BreakerFact(**(status(lane)[0] | {"at": datetime.now(UTC), "tenant": "teens"})), 7)
    wait_breakers(worker, ["forum", "teens"])
    done = lane.command("breaker", "reset", "--all", "--reason", "looked at")
    assert (done.returncode, done.stderr) == (0, "")
    wait_breakers(worker, [])
    found = records(lane)
    assert {one.partition for one in found if one.value and b"closed" in one.value} == {SHARED_PARTITION}
    newest = {(one.partition, one.key): one.value for one in found}
    assert sum(value is not None for value in newest.values()) == 2  # what the resets supersede is gone


def test_a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning(
    lane: Lane, kafka: ApacheKafka
) -> None:
    worker = tripped(lane)
    topic, client = control(lane), admin(lane)
    told = reset_of(lane)
    client.delete_topics([topic])[topic].result(30)
    until(
        "the worker says so",
        lambda: worker.metric("sluicegate_control_topic_followed") == 0,
        within_s=_SOON_S,
    )
    assert topic not in client.list_topics(timeout=10).topics  # nobody made it by asking
    make(kafka, topic)
    until("the topic is followed", lambda: ready(worker)["control"] == "followed", within_s=_SOON_S)
    # What the topic knew is not lost with it: a worker started now learns of the trip.
    until("the trip is told again", lambda: status(lane), within_s=_SOON_S)
    assert status(lane)[0]["state"] == "open"

    # So fast that nobody saw it gone, and longer than what was read of the one before.
    client.delete_topics([topic])[topic].result(30)
    make(kafka, topic)
    for _ in range(20):
        write(lane, told, SHARED_PARTITION)
    wait_breakers(worker, [])
    until("the topic is followed", lambda: ready(worker)["control"] == "followed", within_s=_SOON_S)


def make(kafka: ApacheKafka, topic: str) -> None:
    """Create the topic, once the one before is gone from the brokers."""

    def created() -> bool:
        try:
            kafka.create_topic(topic, 1, config={"cleanup.policy": "compact"})
        except KafkaException:
            return False
        return True

    until("the topic can be made", created, within_s=_SOON_S)
