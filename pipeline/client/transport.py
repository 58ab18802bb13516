"""The client's way to Kafka: an outlet for posts, a tail for verdicts; the group's member is in ``member``.

The modules of the client that know confluent-kafka. What they hand on is ours, and every
fault leaves them as an error or a value of ours.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from sluicegate.pipeline.client.incoming import Incoming
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.unreachable import ask_metadata, why_unreachable
from sluicegate.pipeline.observe.logs import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sluicegate.pipeline.settings.tree import KafkaSettings

_log = logging.getLogger("sluicegate.client")

_POLL_S = 0.1  # poll returns sooner when there is a report
METADATA_S = 15.0
_LOOK_S = 2.0  # for partitions while reading: readers must not wait long for a broker that is out
_PURGED_S = 1.0  # reports of what was purged need no broker
_MOST_RECORDS = 500  # handed on at once
_FETCH_WAIT_MS = 100  # the mock cluster answers an empty fetch only after this long, whatever comes meanwhile


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the brokers put a record."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the brokers have no record: Kafka's name of the fault."""

    reason: str
    fatal: bool


class Outlet:
    """An idempotent producer with acks=all, and the thread that hands on its reports."""

    def __init__(self, kafka: KafkaSettings, *, queue_records: int, linger_ms: float) -> None:
        self._producer = Producer(
            {
                **client_config(kafka),
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "queue.buffering.max.messages": queue_records,
                "delivery.timeout.ms": int(kafka.delivery_timeout_s * 1000),
            }
        )
        self._running = True
        self._poller = threading.Thread(target=self._poll, name="sluicegate-outlet", daemon=True)
        self._poller.start()

    def offer(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        report: Callable[[Placed | Refused], None],
    ) -> bool:
        """Queue a record; False if the queue is full. ``report`` is called once, from another thread."""

        def on_delivery(error: KafkaError | None, message: Any) -> None:
            outcome = (
                Refused(error.name(), error.fatal())
                if error
                else Placed(message.topic(), message.partition(), message.offset())
            )
            try:
                report(outcome)
            except Exception as fault:  # noqa: BLE001 - a caller's code may not end the thread of all reports
                _log.error("a delivery callback failed: %s", frames(fault))

        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=on_delivery)
        except BufferError:
            return False
        except KafkaException as error:
            fault = error.args[0]
            report(Refused(fault.name(), fault.fatal() or fault.code() == KafkaError._FATAL))  # noqa: SLF001 - librdkafka's own name
        return True

    def flush(self, timeout_s: float) -> int:
        """Wait for reports; blocking. How many records have none yet."""
        left: int = self._producer.flush(timeout_s)
        return left

    def close(self, timeout_s: float) -> None:
        """Flush; what is left by then is reported as refused. Blocking."""
        if self.flush(timeout_s):
            self._producer.purge()
            self.flush(_PURGED_S)
        self._running = False
        self._poller.join()

    def _poll(self) -> None:
        while self._running:
            self._producer.poll(_POLL_S)


class Reader:
    """What a tail and a member share: a consumer on topics that exist. Blocking."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], options: dict[str, Any]) -> None:
        self._kafka = kafka
        self._topics = tuple(topics)
        self._consumer = Consumer(
            {
                **client_config(kafka),
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
                "auto.offset.reset": "earliest",  # retention may pass the place where reading goes on
                **options,
            }
        )

    def _partitions(self) -> list[tuple[str, int]]:
        """Every partition of the topics.

        Raises:
            ClusterError: No answer, or a topic does not exist.
        """
        return self._places(ask_metadata(self._consumer, self._kafka, within_s=METADATA_S).topics)

    def _places(self, known: Mapping[str, Any]) -> list[tuple[str, int]]:
        if missing := sorted(topic for topic in self._topics if topic not in known):
            raise ClusterError(
                f"topic {missing[0]} is not there, or not for this user; `sluicegate topics create` makes it"
            )
        return [(topic, number) for topic in self._topics for number in known[topic].partitions]

    def _unreachable(self, error: KafkaException) -> ClusterError:
        return ClusterError(str(why_unreachable(self._kafka, error.args[0].name())))

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()


class Tail(Reader):
    """Every record of some topics from now on, without a group. One thread at a time.

    Entering resolves the ends: whatever is produced after that is read. Partitions that are
    added later are found and read from their beginning.

    Args:
        kafka: The cluster.
        topics: Topics to read.
        look_every_s: How often to look for new partitions.
    """

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], *, look_every_s: float = 30.0) -> None:
        # librdkafka wants a group; partitions are assigned by hand, and nothing is committed.
        super().__init__(kafka, topics, {"group.id": "sluicegate-client", "enable.auto.commit": False})
        self._next: dict[tuple[str, int], int] = {}
        self._look_every_s = look_every_s
        self._looked_at = time.monotonic()

    def open(self) -> None:
        """Find the ends and begin.

        Raises:
            ClusterError: No answer, or a topic does not exist.
        """
        for place in self._partitions():
            try:
                ends = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=METADATA_S)
            except KafkaException as error:
                raise self._unreachable(error) from error
            self._next[place] = ends[1]
        self._assign()

    def read(self, timeout_s: float) -> tuple[list[Incoming], str | None]:
        """The next records as soon as there are any, and Kafka's name of a fault if one was told."""
        if time.monotonic() - self._looked_at > self._look_every_s:
            self._look()
        first = self._consumer.poll(timeout_s)
        if first is None:
            return [], None
        records, trouble = [], None
        for message in [first, *self._consumer.consume(_MOST_RECORDS, timeout=0)]:
            if error := message.error():
                # librdkafka asks for the group unbidden; who reads without one needs no right on it.
                if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    trouble = error.name()
            else:
                records.append(incoming(message))
                self._next[message.topic(), message.partition()] = message.offset() + 1
        return records, trouble

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        with contextlib.suppress(KafkaException, ClusterError):  # then the next look will tell
            known = self._consumer.list_topics(timeout=_LOOK_S).topics
            added = [place for place in self._places(known) if place not in self._next]
            if added:
                self._next |= dict.fromkeys(added, OFFSET_BEGINNING)
                self._assign()

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])


def incoming(message: Any) -> Incoming:
    """A record as the client library gives it, as one of ours."""
    return Incoming(message.topic(), message.partition(), message.offset(), message.key(), message.value())
