"""Reads topics without a group: commits nothing, moves no offsets, sees every partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.topics import PASSING, TopicShape, TopicShapes, absent, unreadable
from sluicegate.pipeline.kafka.unreachable import ask_metadata, why_unreachable
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


_METADATA_S = 15.0
_MOST_RECORDS = 500  # handed over at once: a reader that redraws between two calls stays lively


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record as it stands on its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None
    """Unix milliseconds; None where the record has none."""


class TopicReader:
    """Reads every partition of some topics. Use as a context manager, from one thread; blocking.

    Args:
        kafka: The cluster.
        topics: Topics to read; all must exist.
        start: ``beginning`` gives what stands there first; ``end`` only what comes from now on.
        fetch_wait_ms: The brokers may let an empty fetch wait for so long. The mock cluster always
            does, whatever comes meanwhile.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[str],
        *,
        start: Literal["beginning", "end"],
        fetch_wait_ms: int = 100,
    ) -> None:
        self._kafka = kafka
        self._topics = tuple(topics)
        self._start = start
        self._fetch_wait_ms = fetch_wait_ms
        self._consumer: Any = None
        self._shapes: TopicShapes | None = None
        self._known: dict[str, TopicShape] = {}
        self._unfinished: set[tuple[str, int]] = set()
        self._ends: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        """Look the partitions up and begin.

        Raises:
            ClusterError: The cluster does not answer, or lacks one of the topics.
        """
        from confluent_kafka import Consumer  # noqa: PLC0415 - only who reads pays for the client

        self._consumer = Consumer(
            {
                **client_config(self._kafka),
                "group.id": "sluicegate-reader",  # librdkafka wants one; partitions are assigned by hand
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # the only sure sign of the end: the last offsets may be no records
                "fetch.wait.max.ms": self._fetch_wait_ms,
                "auto.offset.reset": "earliest",  # retention may pass the place where reading begins
            }
        )
        try:
            self._assign()
        except BaseException:
            self._consumer.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._consumer.close()

    @property
    def at_end(self) -> bool:
        """True once every partition has been read up to what was its end at some time since it was taken on."""
        return not self._unfinished

    def incarnation(self, topic: str) -> str | None:
        """Which topic of this name is read; None before :meth:`look`, and where the brokers do not tell."""
        return self._known[topic].incarnation if topic in self._known else None

    def look(self, *, within_s: float) -> None:
        """Take on partitions that were added since, from their beginning; ``at_end`` is False until they were read.

        Of brokers that are away ``read`` says nothing, for that may pass; this does.

        Raises:
            ClusterError: One that leads a partition does not answer, or a topic has gone or is another
                one of its name: what was read of it says nothing of the new one.
        """
        self._shapes = self._shapes or TopicShapes(self._kafka, self._consumer)
        for topic in self._topics:
            shape = self._shapes.ask(topic, within_s=within_s)
            if shape is not None:
                self._take_shape(topic, shape)
        self._require_answer(within_s=within_s)

    def _take_shape(self, topic: str, shape: TopicShape) -> None:
        from confluent_kafka import (  # noqa: PLC0415 - only who reads pays for the client
            OFFSET_BEGINNING,
            TopicPartition,
        )

        held = {place.partition for place in self._consumer.assignment() if place.topic == topic}
        known = self.incarnation(topic)
        if shape.partitions < len(held) or (known is not None and shape.incarnation not in (known, None)):
            raise _made_again(topic)
        if shape.incarnation is not None or topic not in self._known:
            self._known[topic] = shape
        if added := sorted(set(range(shape.partitions)) - held):
            self._unfinished |= {(topic, number) for number in added}
            self._consumer.incremental_assign(
                [TopicPartition(topic, number, OFFSET_BEGINNING) for number in added]
            )

    def read(self, timeout_s: float) -> list[TopicRecord]:
        """The next records, oldest first within a partition; none if none came within the time.

        Raises:
            ClusterError: The cluster refuses to be read, or a topic has gone.
        """
        from confluent_kafka import KafkaError  # noqa: PLC0415 - only who reads pays for the client

        records = []
        for message in self._consumer.consume(_MOST_RECORDS, timeout=timeout_s):
            place = message.topic(), message.partition()
            error = message.error()
            if error is None:
                if place in self._unfinished:
                    self._pass(place, message.offset())
                kind, timestamp = message.timestamp()
                records.append(
                    TopicRecord(
                        *place, message.offset(), message.key(), message.value(), timestamp if kind else None
                    )
                )
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                self._unfinished.discard(place)
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                pass  # librdkafka asks for the group unbidden; who reads without one needs no right on it
            elif not error.retriable():
                raise unreadable(place[0], error.name())
        return records

    def _pass(self, place: tuple[str, int], offset: int) -> None:
        """Note a record read: where records keep coming, the empty fetch that tells of the end never does."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who reads pays for the client

        if place not in self._ends:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high <= offset:
                return  # not known: the next record asks again
            self._ends[place] = high
        if offset + 1 >= self._ends[place]:
            self._unfinished.discard(place)

    def _require_answer(self, *, within_s: float) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who reads pays for the client

        for place in self._consumer.position(self._consumer.assignment()):
            try:
                _, end = self._consumer.get_watermark_offsets(place, timeout=within_s)
            except KafkaException as error:
                fault = error.args[0]
                if fault.name() not in PASSING:
                    raise ClusterError(str(why_unreachable(self._kafka, fault.name()))) from error
            else:
                if place.offset > end:  # where nobody tells which topic it is, a shorter one is another
                    raise _made_again(place.topic)

    def _assign(self) -> None:
        from confluent_kafka import (  # noqa: PLC0415 - only who reads pays for the client
            OFFSET_BEGINNING,
            KafkaException,
            TopicPartition,
        )

        known = ask_metadata(self._consumer, self._kafka, within_s=_METADATA_S).topics
        places = [
            (topic, number)
            for topic in self._topics
            for number in (known[topic].partitions if topic in known else ())
        ]
        try:
            starts = [TopicPartition(*place, self._first_offset(place, OFFSET_BEGINNING)) for place in places]
        except KafkaException as error:
            raise ClusterError(str(why_unreachable(self._kafka, error.args[0].name()))) from error
        if missing := sorted(set(self._topics) - {topic for topic, _ in places}):
            raise absent(missing[0])
        self._unfinished = set(places)
        self._consumer.assign(starts)

    def _first_offset(self, place: tuple[str, int], beginning: int) -> int:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who reads pays for the client

        if self._start == "beginning":
            return beginning
        # Asked for now: "the end" as librdkafka resolves it is only as old as the first fetch.
        high: int = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_METADATA_S)[1]
        return high


def _made_again(topic: str) -> ClusterError:
    return ClusterError(f"topic {topic} was deleted and made again; it is read again from its beginning")
