"""Reads topics without a group: commits nothing, moves no offsets, sees every partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.unreachable import ask_metadata, why_unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.pipeline.settings.tree import KafkaSettings

_METADATA_S = 15.0
_PASSING = {"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT"}
"""Brokers that answer, and soon will otherwise. Errors that the client makes do not say whether they pass."""
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
        """True once every partition has been read up to what was its end at some time since the entry."""
        return not self._unfinished

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
                raise ClusterError(
                    f"topic {place[0]} cannot be read ({error.name()}); check that it exists and the rights"
                )
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

    def require_answer(self, *, within_s: float) -> None:
        """Ask the brokers something: of those that are away ``read`` says nothing, for that may pass.

        Raises:
            ClusterError: One that leads a partition does not answer.
        """
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who reads pays for the client

        for place in self._consumer.assignment():
            try:
                self._consumer.get_watermark_offsets(place, timeout=within_s)
            except KafkaException as error:
                fault = error.args[0]
                if fault.name() not in _PASSING:
                    raise ClusterError(str(why_unreachable(self._kafka, fault.name()))) from error

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
            raise ClusterError(
                f"topic {missing[0]} is not there, or not for this user; `sluicegate topics create` makes it"
            )
        self._unfinished = set(places)
        self._consumer.assign(starts)

    def _first_offset(self, place: tuple[str, int], beginning: int) -> int:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who reads pays for the client

        if self._start == "beginning":
            return beginning
        # Asked for now: "the end" as librdkafka resolves it is only as old as the first fetch.
        high: int = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_METADATA_S)[1]
        return high
