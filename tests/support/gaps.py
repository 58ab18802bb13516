"""Records that are not simply there: of transactions, compacted, deleted, or with odd bytes for a header's name."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from faults.administrator import configure_topic
from support.collector import Sent
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.workers import Lane

_ANSWER_S = 30.0


class Transactions:
    """A transactional producer of posts. Use as a context manager: leaving it aborts what is open."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._sent: list[Sent] = []
        self._open = False
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": f"test-{uuid4().hex}", "log_level": 2}
        )
        self._producer.init_transactions(_ANSWER_S)

    def begin(self, posts: Iterable[dict[str, Any]], *, partition: int | None = None) -> None:
        """Open a transaction and put posts into it; they are on the brokers when this returns."""
        self._producer.begin_transaction()
        self._open = True
        self._sent = []
        for post in posts:

            def delivered(error: Any, message: Any, post: dict[str, Any] = post) -> None:
                assert error is None, error
                place = message.topic(), message.partition(), message.offset()
                self._sent.append(Sent(*place, post["id"], post.get("tenant", "default"), 0))

            where = {} if partition is None else {"partition": partition}
            self._producer.produce(
                self._topic, orjson.dumps(post), post["id"].encode(), on_delivery=delivered, **where
            )
        assert self._producer.flush(_ANSWER_S) == 0

    def commit(self) -> list[Sent]:
        """Close it; give what was thereby accepted."""
        self._producer.commit_transaction(_ANSWER_S)
        self._open = False
        return self._sent

    def abort(self) -> None:
        """Close it; its posts were never accepted."""
        self._producer.abort_transaction(_ANSWER_S)
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self.abort()


def delete_records(bootstrap: str, topic: str, before: dict[int, int]) -> None:
    """Delete the records below an offset per partition, as retention does."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    places = [TopicPartition(topic, number, offset) for number, offset in before.items()]
    for deleted in admin.delete_records(places).values():
        deleted.result(_ANSWER_S)


def set_committed(bootstrap: str, group: str, topic: str, offsets: dict[int, int]) -> None:
    """Set an empty group's offsets."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    places = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
    request = ConsumerGroupTopicPartitions(group, places)

    def done() -> bool:  # the coordinator of the cluster's first group is not there at once
        try:
            (answer,) = admin.alter_consumer_group_offsets([request]).values()
            return not any(one.error for one in answer.result(_ANSWER_S).topic_partitions)
        except KafkaException:
            return False

    until("the group's offsets are set", done, within_s=_ANSWER_S)


def compact(lane: Lane) -> list[Sent]:
    """Fill partition 0 of a lane's input topic, let the brokers compact it, and give what still stands there."""
    configure_topic(
        lane.bootstrap,
        lane.posts,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    sent = []
    for turn in range(6):
        names = [f"once-{turn}-{number}" for number in range(3)] + [
            f"revised-{number}" for number in range(20)
        ]
        sent += lane.send({"id": name, "text": f"{name} of {turn}", "revision": turn} for name in names)
        time.sleep(0.2)  # the next turn begins a new segment
    until(
        "the brokers have compacted",
        lambda: len(standing(lane.bootstrap, lane.posts, 0)) <= len(sent) - 4 * 20,
        within_s=60,
    )
    left = set(standing(lane.bootstrap, lane.posts, 0))
    return [one for one in sent if one.offset in left]


def standing(bootstrap: str, topic: str, partition: int) -> list[int]:
    """Offsets of the records that a partition still holds."""
    offsets = []
    with _reader(bootstrap) as reader:
        low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWER_S)
        reader.assign([TopicPartition(topic, partition, low)])
        while low < high:
            message = reader.poll(_ANSWER_S)
            assert message is not None, "the partition could not be read"
            if message.error():  # its end, behind a gap
                break
            offsets.append(message.offset())
    return offsets


@contextmanager
def _reader(bootstrap: str) -> Iterator[Any]:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "gaps",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    try:
        yield reader
    finally:
        reader.close()


class RawName(str):
    """A header's name that is written as these bytes. No client offers that; anybody can write a client."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        made = super().__new__(cls, "raw")
        made.raw = raw
        return made

    def encode(self, *_: Any, **__: Any) -> bytes:
        """The bytes, whatever the encoding."""
        return self.raw


async def send_raw_names(
    bootstrap: str, topic: str, rows: list[tuple[dict[str, Any], list[tuple[str, bytes | None]]]], codec: int
) -> list[Sent]:
    """Send posts with headers to partition 0, in one batch of the given compression (0 none to 4 zstd)."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 1_000_000)
        for post, headers in rows:
            batch.append(key=post["id"].encode(), value=orjson.dumps(post), timestamp=None, headers=headers)
        batch.close()
        delivered = await (await producer.send_batch(batch, topic, partition=0))
        return [
            Sent(topic, 0, delivered.offset + number, post["id"]) for number, (post, _) in enumerate(rows)
        ]
    finally:
        await producer.stop()
