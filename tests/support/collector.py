"""Reads topics back from their beginning, and the arithmetic of what came out against what went in."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

READ_S = 30.0
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Sent:
    """One record that the broker accepted on the input topic."""

    topic: str
    partition: int
    offset: int
    post_id: str | None = None
    """The post's id; None for what is no post (it can only become a dead letter, or a counted tombstone)."""
    tenant: str = "default"
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an output topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    body: dict[str, Any]
    headers: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def is_dead_letter(self) -> bool:
        """True for a dead letter, False for a verdict."""
        return "dead_letter_id" in self.body


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of the records sent."""

    sent: int
    verdicts: int
    """Verdict records, repeats included."""
    dead_letters: int
    """Dead letter records, repeats included."""
    lost: tuple[Sent, ...]
    """Records with neither a verdict nor a dead letter."""
    repeats_same_id: int
    """Records beyond the first with the same verdict or dead letter id."""
    repeats_other_id: int
    """Further ids for the same tenant, post id and revision."""
    two_actions: tuple[str, ...]
    """Verdict ids that appear with more than one action: must be empty, always."""
    unasked: int
    """Verdicts and dead letters for records that were never sent."""


def account(sent: Sequence[Sent], records: Iterable[Record]) -> Accounting:
    """Balance what came out against what went in."""
    ids: Counter[str] = Counter()
    actions: defaultdict[str, set[str]] = defaultdict(set)
    ids_of_post: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    origins: set[tuple[str, int, int]] = set()
    verdicts = dead_letters = 0
    for record in records:
        body = record.body
        if record.is_dead_letter:
            dead_letters += 1
            ids[body["dead_letter_id"]] += 1
            origins.add((body["origin"]["topic"], body["origin"]["partition"], body["origin"]["offset"]))
        else:
            verdicts += 1
            ids[body["verdict_id"]] += 1
            actions[body["verdict_id"]].add(body["action"])
            ids_of_post[body["tenant"], body["post_id"], body["revision"]].add(body["verdict_id"])
    posts = {(one.tenant, one.post_id, one.revision) for one in sent if one.post_id is not None}
    places = {(one.topic, one.partition, one.offset) for one in sent}
    return Accounting(
        sent=len(sent),
        verdicts=verdicts,
        dead_letters=dead_letters,
        lost=tuple(
            one
            for one in sent
            if (one.tenant, one.post_id, one.revision) not in ids_of_post
            and (one.topic, one.partition, one.offset) not in origins
        ),
        repeats_same_id=sum(count - 1 for count in ids.values()),
        repeats_other_id=sum(len(found) - 1 for found in ids_of_post.values()),
        two_actions=tuple(sorted(one for one, found in actions.items() if len(found) > 1)),
        unasked=len(ids_of_post.keys() - posts) + len(origins - places),
    )


def send(bootstrap: str, topic: str, values: Iterable[dict[str, Any] | bytes | None]) -> list[Sent]:
    """Publish posts (as mappings), raw bytes or tombstones; return where the broker put each.

    A mapping's key is its id; raw records go without a key, to partition 0, so that the
    order of a test's table is the order of the partition.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "log_level": 2})
    sent: list[Sent] = []
    failed: list[str] = []

    for value in values:
        post = value if isinstance(value, dict) else {}

        def delivered(error: Any, message: Any, post: dict[str, Any] = post) -> None:
            if error is not None:
                failed.append(str(error))
                return
            tenant, revision = post.get("tenant", "default"), post.get("revision", 0)
            place = message.topic(), message.partition(), message.offset()
            sent.append(Sent(*place, post.get("id"), tenant, revision))

        raw = orjson.dumps(value) if isinstance(value, dict) else value
        where = {"key": post["id"].encode()} if post.get("id") else {"partition": 0}
        while True:
            try:
                producer.produce(topic, raw, on_delivery=delivered, **where)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(READ_S)
    if left or failed:
        raise RuntimeError(f"{left} records were not delivered, {len(failed)} failed: {failed[:1]}")
    return sent


def read(bootstrap: str, topics: Sequence[str]) -> list[Record]:
    """Read every record that the topics hold now."""
    with _reader(bootstrap) as reader:
        known = reader.list_topics(timeout=READ_S).topics
        goal: dict[tuple[str, int], int] = {}
        starts: list[TopicPartition] = []
        for topic in topics:
            for number in known[topic].partitions if topic in known else ():
                low, high = _watermarks(reader, topic, number)
                if high > low:
                    starts.append(TopicPartition(topic, number, low))
                    goal[topic, number] = high
        reader.assign(starts)
        return _read_until(reader, goal)


def _read_until(reader: Any, goal: dict[tuple[str, int], int]) -> list[Record]:
    records: list[Record] = []
    deadline = time.monotonic() + READ_S
    while goal:
        if time.monotonic() > deadline:
            raise RuntimeError(f"could not read up to {goal} within {READ_S:.0f} s")
        for message in reader.consume(1000, timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            place = message.topic(), message.partition()
            headers = dict(message.headers() or ())
            records.append(
                Record(*place, message.offset(), message.key(), orjson.loads(message.value()), headers)
            )
            if place in goal and message.offset() + 1 >= goal[place]:
                del goal[place]
    return records


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """Per partition of a topic, the offset that the next record will get."""
    with _reader(bootstrap) as reader:
        return {
            number: _watermarks(reader, topic, number)[1]
            for number in reader.list_topics(topic, timeout=READ_S).topics[topic].partitions
        }


def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """The group's committed offset per partition of a topic; 0 where none is."""
    with _reader(bootstrap, group) as reader:
        numbers = reader.list_topics(topic, timeout=READ_S).topics[topic].partitions
        partitions = [TopicPartition(topic, number) for number in numbers]
        return {one.partition: max(one.offset, 0) for one in reader.committed(partitions, timeout=READ_S)}


def _watermarks(reader: Any, topic: str, number: int) -> tuple[int, int]:
    """First offset and end of a partition; a leader that has just been elected may need a moment."""
    deadline = time.monotonic() + READ_S
    while True:
        try:
            low, high = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=READ_S)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)
        else:
            return low, high


@contextmanager
def _reader(bootstrap: str, group: str = "collector") -> Iterator[Any]:
    """A consumer that joins no group: it assigns itself, and commits nothing."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 2}
    )
    try:
        yield consumer
    finally:
        consumer.close()
