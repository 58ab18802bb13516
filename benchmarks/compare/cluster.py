"""Topics of a run: filled once, read by each system from the beginning, answers counted and timed by their records."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from support.kafka import ApacheKafka

PARTITIONS = 6
PATIENT = {"broker.session.timeout.ms": "30000", "broker.heartbeat.interval.ms": "2000"}
"""Broker properties: one that a busy machine keeps waiting is not given up, as the tests' own soon are."""
OUTPUTS = ("allow", "review", "block", "dead_letter")

_ASK_S = 30.0
_LOOK_S = 0.25
_READ_AT_ONCE = 10_000


def fill(
    bootstrap: str, topic: str, values: Sequence[bytes], place: Callable[[int, int], int], partitions: int
) -> None:
    """Put posts on a topic and wait until the brokers have all.

    Raises:
        RuntimeError: They did not take all.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 20, "log_level": 2})
    failed: list[str] = []
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    str(number),
                    partition=place(number, partitions),
                    on_delivery=lambda error, _message: failed.append(str(error)) if error else None,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(_ASK_S) or failed:
        raise RuntimeError(f"the brokers did not take all posts: {failed[:1]}")


@dataclass(slots=True)
class Lane:
    """The topics and the group of one cell; removed when it is over, so that the disk stays bounded."""

    kafka: ApacheKafka
    posts: str
    own_posts: bool = False
    """True if the posts' topic goes with the others."""
    prefix: str = field(default_factory=lambda: f"c{uuid4().hex[:10]}")

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"{self.prefix}.group"

    @property
    def outputs(self) -> dict[str, str]:
        """Output topics by the name of their setting."""
        return {name: f"{self.prefix}.{name}" for name in OUTPUTS}

    @property
    def control(self) -> str:
        """The control topic."""
        return f"{self.prefix}.control"

    def open(self, config: dict[str, str] | None = None) -> None:
        """Make the topics."""
        if self.own_posts:
            self.kafka.create_topic(self.posts, PARTITIONS, config=config)
        for topic in (*self.outputs.values(), self.control):
            self.kafka.create_topic(topic, 1, config=config)

    def close(self) -> None:
        """Remove the topics; what cannot be removed goes with the cluster."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        topics = [*self.outputs.values(), self.control, *([self.posts] if self.own_posts else [])]
        for future in admin.delete_topics(topics, operation_timeout=_ASK_S).values():
            try:
                future.result(_ASK_S)
            except KafkaException:
                continue

    @property
    def settings(self) -> dict[str, str]:
        """What a worker needs to know of it."""
        return {
            "kafka.bootstrap_servers": self.kafka.bootstrap,
            "kafka.group": self.group,
            "topics.posts": self.posts,
            "topics.control": self.control,
            **{f"topics.{name}": topic for name, topic in self.outputs.items()},
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """What stands on the output topics."""

    times: tuple[float, ...]
    """When the verdict on each post that was judged was produced, in Unix seconds, in order."""
    failed: int
    """Verdicts without a judgement, and dead letters."""
    repeats: int
    """Verdicts on a post that has one already."""


def judged_of(records: Iterable[tuple[float, bytes]], *, unread: bool = False) -> Judged:
    """Count output records, each with its time: only what was judged is an answer.

    Args:
        records: When each was produced, and its value.
        unread: What the engine wrote and nobody parsed is an answer, too.
    """
    times: list[float] = []
    seen: set[str] = set()
    failed = repeats = 0
    for at_s, value in records:
        verdict = orjson.loads(value)
        post = verdict.get("post_id")
        failure = verdict.get("failure")
        if post is None or (failure is not None and not (unread and failure.get("code") == "unparsable")):
            failed += 1
        elif post in seen:
            repeats += 1
        else:
            seen.add(post)
            times.append(at_s)
    return Judged(tuple(sorted(times)), failed, repeats)


class Answers:
    """Follows the output topics of a lane from outside. Use as a context manager."""

    def __init__(self, lane: Lane) -> None:
        self._places = [TopicPartition(topic, 0) for topic in lane.outputs.values()]
        self._reader = Consumer(
            {
                "bootstrap.servers": lane.kafka.bootstrap,
                "group.id": f"{lane.prefix}.reader",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._reader.close()

    def count(self) -> int:
        """How many answers stand there."""
        return sum(self._ends().values())

    def wait(self, count: int, *, within_s: float, check: Callable[[], None]) -> int:
        """Wait until so many answers stand there, or the time is over; how many there are."""
        deadline = time.monotonic() + within_s
        while (found := self.count()) < count and time.monotonic() < deadline:
            check()
            time.sleep(_LOOK_S)
        return found

    def judged(self, *, unread: bool = False) -> Judged:
        """Read all of them; ``unread`` as for :func:`judged_of`."""
        goal = {topic: end for topic, end in self._ends().items() if end}
        self._reader.assign([TopicPartition(topic, 0, 0) for topic in goal])
        found: list[tuple[float, bytes]] = []
        deadline = time.monotonic() + _ASK_S
        while goal and time.monotonic() < deadline:
            for message in self._reader.consume(_READ_AT_ONCE, timeout=0.5):
                if message.error():
                    raise KafkaException(message.error())
                found.append((message.timestamp()[1] / 1000, message.value() or b"{}"))
                topic: Any = message.topic()
                if topic in goal and message.offset() + 1 >= goal[topic]:
                    del goal[topic]
        return judged_of(found, unread=unread)

    def _ends(self) -> dict[str, int]:
        return {
            place.topic: self._reader.get_watermark_offsets(place, timeout=_ASK_S)[1]
            for place in self._places
        }
