"""A tail of some topics, and what it shares with a member of a group.

What is handed on is ours, and every fault leaves as an error or a value of ours.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.incoming import Incoming
from sluicegate.pipeline.kafka.unreachable import ask_metadata, why_unreachable
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


METADATA_S = 15.0
_LOOK_S = 2.0  # for partitions while reading: readers must not wait long for a broker that is out
_MOST_RECORDS = 500  # handed on at once
_FETCH_WAIT_MS = 100  # the mock cluster answers an empty fetch only after this long, whatever comes meanwhile


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
