"""A stand-in for a cluster and its client of a group, for one topic; public, for tests without brokers.

It has logs, commits and a script of what the client meets next. A :class:`FakeClient` answers in the caller's thread, as
confluent_kafka does.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sluicegate.pipeline.kafka.onlooker import TopicShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TOPIC = "posts"


@dataclass(slots=True)
class FakeMessage:
    """What a client gives: a record, or a fault."""

    number: int
    at: int
    body: bytes | None = b"v"
    fault: KafkaError | None = None
    named: Any = ()
    stamp: tuple[int, int] = (1, 1_500)
    epoch: int = 0

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return self.body

    def headers(self) -> Any:
        if isinstance(self.named, Exception):
            raise self.named
        return list(self.named) or None

    def timestamp(self) -> tuple[int, int]:
        return self.stamp

    def leader_epoch(self) -> int:
        return self.epoch

    def error(self) -> KafkaError | None:
        return self.fault


def records(number: int, first: int, behind: int) -> list[FakeMessage]:
    """Records of a partition, from the first offset to the one before the last."""
    return [FakeMessage(number, offset) for offset in range(first, behind)]


def fault(code: int, number: int = 0, offset: int = -1001, *, fatal: bool = False) -> FakeMessage:
    """What comes in place of a record."""
    return FakeMessage(number, offset, fault=KafkaError(code, "as scripted", fatal=fatal))


@dataclass
class FakeCluster:
    """What the brokers have. A test changes it while a client runs."""

    bounds: dict[int, tuple[int, int]] = field(default_factory=dict)
    commits: dict[int, TopicPartition] = field(default_factory=dict)
    history: list[tuple[int, int]] = field(default_factory=list)
    """Every commit, in order: partition and offset."""
    incarnation: str | None = "one"
    embedded: bool = False
    leaderless: set[int] = field(default_factory=set)
    away: bool = False
    refuses: bool = False
    """True while commits are refused."""

    def require(self) -> None:
        """Fail as a client does whose brokers are away."""
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def commit(self, places: Iterable[TopicPartition]) -> list[TopicPartition]:
        self.require()
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        done = list(places)
        for one in done:
            self.commits[one.partition] = one
            self.history.append((one.partition, one.offset))
        return done


class FakeClient:
    """A member of the group. The test scripts what it meets with :meth:`meets` and :meth:`rebalances`."""

    def __init__(self, cluster: FakeCluster, options: dict[str, Any]) -> None:
        self.cluster = cluster
        self.options = options
        self.script: queue.Queue[Callable[[], None] | FakeMessage] = queue.Queue()
        self.told: list[tuple[str, Any]] = []
        self.closed = threading.Event()
        self.subscribed = threading.Event()
        self.epochs: dict[int, int | None] = {}
        """The leader's epoch that each partition was begun with."""
        self.watermarks = 0
        """How often it was asked where a partition begins and ends."""
        self.is_lost = False
        """True if it learns with its end that the group has given its partitions to others."""
        self._assigned: set[int] = set()
        self._callbacks: dict[str, Callable[..., None]] = {}

    # The script, from any thread.

    def meets(self, messages: Sequence[FakeMessage]) -> None:
        """These come next."""
        for message in messages:
            self.script.put(message)

    def rebalances(self, how: str, *numbers: int) -> None:
        """The group gives (``on_assign``) or takes (``on_revoke``, ``on_lost``) partitions next."""
        places = [TopicPartition(TOPIC, number) for number in numbers]
        self.script.put(lambda: self._callbacks[how](self, places))

    # What the consumer calls.

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        assert topics == [TOPIC]
        self._callbacks = callbacks
        self.subscribed.set()

    def poll(self, timeout: float) -> FakeMessage | None:
        try:
            found = self.script.get(timeout=timeout / 20)
        except queue.Empty:
            return None
        if isinstance(found, FakeMessage):
            return found
        found()
        return None

    def consume(self, most: int, timeout: float) -> list[FakeMessage]:
        assert timeout == 0
        found: list[FakeMessage] = []
        while len(found) < most and not self.script.empty():
            one = self.script.queue[0]
            if not isinstance(one, FakeMessage):
                break
            found.append(one)
            self.script.get()
        return found

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        if not asynchronous:
            return self.cluster.commit(offsets)
        try:
            done, error = self.cluster.commit(offsets), None
        except KafkaException as refused:
            done, error = offsets, refused.args[0]
        self.script.put(lambda: self.options["on_commit"](error, done))
        return None

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        self.cluster.require()
        return [self.cluster.commits.get(one.partition, one) for one in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        self.watermarks += 1
        self.cluster.require()
        if place.partition in self.cluster.leaderless:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return self.cluster.bounds[place.partition]

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        numbers = {one.partition for one in places}
        assert not numbers & self._assigned
        self._assigned |= numbers
        self.epochs |= {one.partition: one.leader_epoch for one in places}
        self.told.append(("assign", {one.partition: one.offset for one in places}))

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        numbers = {one.partition for one in places}
        assert numbers <= self._assigned
        self._assigned -= numbers
        self.told.append(("unassign", numbers))

    def pause(self, places: list[TopicPartition]) -> None:
        self.told.append(("pause", {one.partition for one in places}))

    def resume(self, places: list[TopicPartition]) -> None:
        self.told.append(("resume", {one.partition for one in places}))

    def close(self) -> None:
        if self._assigned and self._callbacks:
            told = self._callbacks["on_lost" if self.is_lost else "on_revoke"]
            told(self, [TopicPartition(TOPIC, number) for number in self._assigned])
        self.closed.set()


class FakeShapes:
    """Tells of the topic, as :class:`TopicShapes` does."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def ask(self, topic: str, *, within_s: float) -> TopicShape | None:
        assert topic == TOPIC
        assert within_s > 0
        self._cluster.require()
        cluster = self._cluster
        return TopicShape(len(cluster.bounds), cluster.incarnation, embedded=cluster.embedded)
