"""Readers of topics: the record that each gives, what every consumer shares, and the readers without a group.

A reader without a group commits nothing, moves no offsets and sees every partition.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.onlooker import PASSING, TopicShape, TopicShapes, unreadable
from sluicegate.pipeline.kafka.topics import absent
from sluicegate.pipeline.kafka.unreachable import UnreachableError, ask_metadata, why_unreachable
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.schemas import DeadLetter, Feedback, Resolution, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


METADATA_S = 15.0
_LOOK_S = 2.0  # a tail must not wait long for a broker that is out
_READ_S = 0.2
_MOST_RECORDS = 500  # handed over at once: a reader that redraws between two calls stays lively
BEGINNING = -2  # librdkafka's OFFSET_BEGINNING
_MAJOR = "1."  # within a major version every reader reads every record

_E = TypeVar("_E", Verdict, DeadLetter, Resolution, Feedback)


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record as it stands on its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None
    """Unix milliseconds; None where the record has none."""

    def event(self, kind: type[_E]) -> _E | None:
        """The event in the record; None if there is none, or one of another major version."""
        try:
            event = kind.model_validate_json(self.value or b"")
        except ValueError:
            return None
        return event if event.schema_version.startswith(_MAJOR) else None


class TopicConsumer(ABC):
    """A consumer of topics that exist. Blocking; use it as a context manager, or open and close it. One thread at a time.

    Args:
        kafka: The cluster.
        topics: Topics to read; all must exist.
        options: Librdkafka's settings for the role.
    """

    _patient = True
    """Whether it waits for brokers that may be starting."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], options: Mapping[str, Any]) -> None:
        self._kafka = kafka
        self._topics = tuple(topics)
        self._options = {
            "fetch.wait.max.ms": 100,  # the mock cluster lets an empty fetch wait so long, whatever comes meanwhile
            "auto.offset.reset": "earliest",  # retention may pass the place where reading goes on
            **options,
        }
        self._consumer: Any = None
        self._credentials = Credentials(kafka)

    def open(self) -> None:
        """Look the partitions up and begin.

        Raises:
            ClusterError: The cluster does not answer, or lacks one of the topics.
        """
        self._consumer = self._make_consumer()
        try:
            found = ask_metadata(self._consumer, self._kafka, within_s=METADATA_S, patient=self._patient)
            self._begin(self._partitions(found))
        except BaseException:
            self.close()
            raise

    def _make_consumer(self) -> Any:
        from confluent_kafka import Consumer  # noqa: PLC0415 - only who reads pays for the client

        return Consumer({**self._credentials.config(), **self._options})

    def _look_at_credentials(self) -> None:
        """Go on with another client where the new credentials want one."""
        renewed = self._credentials.renewed(self._consumer, self._make_consumer)
        if renewed is not None:
            before, self._consumer = self._consumer, renewed
            self._go_on(before)

    def close(self) -> None:
        """Leave the cluster."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @abstractmethod
    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        """Begin with these partitions."""

    @abstractmethod
    def _go_on(self, before: Any) -> None:
        """Close the client before, and read on with this one from where it was."""

    @abstractmethod
    def _meet(self, place: tuple[str, int], error: Any) -> None:
        """Act on what librdkafka tells of a partition in place of a record."""

    def _partitions(self, metadata: Any) -> list[tuple[str, int]]:
        """Every partition of the topics.

        Raises:
            ClusterError: A topic does not exist.
        """
        known = metadata.topics
        if missing := sorted(one for one in self._topics if one not in known or not known[one].partitions):
            raise absent(missing[0])
        return [(topic, number) for topic in self._topics for number in known[topic].partitions]

    def _end(self, place: tuple[str, int]) -> int:
        """The end of a partition now; as librdkafka resolves it for a start, it is only as old as the first fetch.

        Raises:
            ClusterError: The one that leads it does not answer.
        """
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who reads pays for the client

        try:
            end: int = self._consumer.get_watermark_offsets(place_of(*place), timeout=METADATA_S)[1]
        except KafkaException as error:
            raise self._unreachable(error) from error
        return end

    def _unreachable(self, error: Exception) -> ClusterError:
        return UnreachableError(why_unreachable(self._kafka, error.args[0].name()))

    def _records(self, messages: Iterable[Any]) -> list[TopicRecord]:
        """The records among messages; what else they tell is acted on."""
        records = []
        for message in messages:
            place = message.topic(), message.partition()
            error = message.error()
            if error is not None:
                self._meet(place, error)
                continue
            kind, timestamp = message.timestamp()
            records.append(
                TopicRecord(
                    *place, message.offset(), message.key(), message.value(), timestamp if kind else None
                )
            )
        return records


class TopicReader(TopicConsumer):
    """Reads every partition of some topics.

    Args:
        kafka: The cluster.
        topics: Topics to read; all must exist.
        start: ``beginning`` gives what stands there first; ``end`` only what comes from now on.
        offsets: Where to begin in these partitions instead, by topic and number.
        fetch_wait_ms: The brokers may let an empty fetch wait for so long. The mock cluster always
            does, whatever comes meanwhile.
    """

    _patient = False  # commands read so, and a person waits

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[str],
        *,
        start: Literal["beginning", "end"],
        offsets: Mapping[tuple[str, int], int] = MappingProxyType({}),
        fetch_wait_ms: int = 100,
    ) -> None:
        options = {
            "group.id": "sluicegate-reader",  # librdkafka wants one; partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,  # the only sure sign of the end: the last offsets may be no records
            "fetch.wait.max.ms": fetch_wait_ms,
        }
        super().__init__(kafka, topics, options)
        self._start, self._offsets = start, offsets
        self._shapes: TopicShapes | None = None
        self._known: dict[str, TopicShape] = {}
        self._unfinished: set[tuple[str, int]] = set()
        self._ends: dict[tuple[str, int], int] = {}

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

    def read(self, timeout_s: float) -> list[TopicRecord]:
        """The next records, oldest first within a partition; none if none came within the time.

        Raises:
            ClusterError: The cluster refuses to be read, or a topic has gone.
        """
        self._look_at_credentials()
        records = self._records(self._messages(timeout_s))
        for record in records:
            if (record.topic, record.partition) in self._unfinished:
                self._pass((record.topic, record.partition), record.offset)
        return records

    def read_all(self, *, follow: bool = False) -> Iterator[TopicRecord]:
        """Each record up to the end of the topics, or for ever where they are followed.

        Raises:
            ClusterError: As :meth:`read`.
        """
        while True:
            yield from self.read(_READ_S)
            if self.at_end and not follow:
                return

    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        starts = [
            place_of(
                *place,
                self._offsets[place]
                if place in self._offsets
                else BEGINNING
                if self._start == "beginning"
                else self._end(place),
            )
            for place in places
        ]
        self._unfinished = set(places)
        self._consumer.assign(starts)

    def _go_on(self, before: Any) -> None:
        starts = before.assignment()
        read = [
            one if one.offset >= 0 else start
            for one, start in zip(before.position(starts), starts, strict=True)
        ]
        before.close()
        self._shapes = None
        self._consumer.assign([place_of(one.topic, one.partition, one.offset) for one in read])

    def _messages(self, timeout_s: float) -> Sequence[Any]:
        messages: Sequence[Any] = self._consumer.consume(_MOST_RECORDS, timeout=timeout_s)
        return messages

    def _meet(self, place: tuple[str, int], error: Any) -> None:
        if error.name() == "_PARTITION_EOF":
            self._unfinished.discard(place)
        # librdkafka asks for the group unbidden; who reads without one needs no right on it.
        elif error.name() != "GROUP_AUTHORIZATION_FAILED":
            self._fail(place[0], error)

    def _fail(self, topic: str, error: Any) -> None:
        if not error.retriable():
            raise unreadable(topic, error.name())

    def _take_on(self, places: Iterable[tuple[str, int]]) -> None:
        """Read those that are not read yet, from their beginning."""
        held = {(one.topic, one.partition) for one in self._consumer.assignment()}
        if added := sorted(set(places) - held):
            self._unfinished |= set(added)
            self._consumer.incremental_assign([place_of(*place) for place in added])

    def _take_shape(self, topic: str, shape: TopicShape) -> None:
        held = sum(place.topic == topic for place in self._consumer.assignment())
        known = self.incarnation(topic)
        if shape.partitions < held or (known is not None and shape.incarnation not in (known, None)):
            raise _made_again(topic)
        if shape.incarnation is not None or topic not in self._known:
            self._known[topic] = shape
        self._take_on((topic, number) for number in range(shape.partitions))

    def _pass(self, place: tuple[str, int], offset: int) -> None:
        """Note a record read: where records keep coming, the empty fetch that tells of the end never does."""
        if place not in self._ends:
            _, high = self._consumer.get_watermark_offsets(place_of(*place), cached=True)
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
                if error.args[0].name() not in PASSING:
                    raise self._unreachable(error) from error
            else:
                if place.offset > end:  # where nobody tells which topic it is, a shorter one is another
                    raise _made_again(place.topic)


class Tail(TopicReader):
    """Every record of some topics from now on, as soon as it comes. It goes on whatever the cluster tells.

    Opening resolves the ends: whatever is produced after that is read. Partitions that are
    added later are found and read from their beginning.

    Args:
        kafka: The cluster.
        topics: Topics to read; all must exist.
        look_every_s: How often to look for new partitions.
    """

    _patient = True

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], *, look_every_s: float = 30.0) -> None:
        super().__init__(kafka, topics, start="end")
        self._look_every_s = look_every_s
        self._looked_at = time.monotonic()
        self.trouble: str | None = None
        """Kafka's name of the fault that the last read was told; None if it was told none."""

    def read(self, timeout_s: float) -> list[TopicRecord]:
        """The next records as soon as there are any; none if none came within the time."""
        if time.monotonic() - self._looked_at > self._look_every_s:
            self._look_around()
        self.trouble = None
        return super().read(timeout_s)

    def _messages(self, timeout_s: float) -> Sequence[Any]:
        first = self._consumer.poll(timeout_s)
        return [] if first is None else [first, *self._consumer.consume(_MOST_RECORDS, timeout=0)]

    def _fail(self, _topic: str, error: Any) -> None:
        self.trouble = error.name()

    def _look_around(self) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who reads pays for the client

        self._looked_at = time.monotonic()
        with contextlib.suppress(KafkaException, ClusterError):  # then the next look will tell
            self._take_on(self._partitions(self._consumer.list_topics(timeout=_LOOK_S)))


def place_of(topic: str, partition: int, offset: int = BEGINNING) -> Any:
    """A place on a topic as the client library takes it."""
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who reads pays for the client

    return TopicPartition(topic, partition, offset)


def _made_again(topic: str) -> ClusterError:
    return ClusterError(f"topic {topic} was deleted and made again; it is read again from its beginning")
