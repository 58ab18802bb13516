"""What a topic is like now: whether it is the same one, how far it goes, and whether its log was cut."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.topics import EMBEDDED, absent
from sluicegate.pipeline.kafka.unreachable import why_unreachable
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


PASSING = frozenset(
    {"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT"}
)
"""Brokers that answer, and soon will otherwise. Errors that the client makes do not say whether they pass."""
CUT = frozenset({-140, -139, 1})
"""Codes of librdkafka for an offset that a log does not have: ``_AUTO_OFFSET_RESET``, ``_LOG_TRUNCATION``, ``OFFSET_OUT_OF_RANGE``."""
_ABSENT = "UNKNOWN_TOPIC_OR_PART"


@dataclass(frozen=True, slots=True)
class TopicShape:
    """What may change of a topic while somebody reads it."""

    partitions: int
    incarnation: str | None
    """Another one once the topic is deleted and made again; None where nobody tells (brokers before 2.8)."""
    embedded: bool = False
    """True for the embedded broker, which knows neither incarnations nor leaders' epochs."""


def unreadable(topic: str, code: str) -> ClusterError:
    """The error for a topic that the brokers do not give."""
    return ClusterError(f"topic {topic} cannot be read ({code}); check that it exists and the rights")


class TopicShapes:
    """Asks for shapes again and again, of one topic at a time: a cluster may have many. From one thread.

    Args:
        kafka: The cluster.
        consumer: A client of the same thread, which creates no topic by asking for it.
    """

    def __init__(self, kafka: KafkaSettings, consumer: Any) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._credentials = Credentials(kafka, quiet=True)  # the consumer tells
        self._admin = self._make_admin()

    def _make_admin(self) -> Any:
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - only who asks pays for the client

        return AdminClient({**self._credentials.config(), "log_level": 0})  # the consumer's log has it all

    def ask(self, topic: str, *, within_s: float) -> TopicShape | None:
        """The shape of a topic now; None where the brokers answer that they cannot tell just now.

        Raises:
            ClusterError: The topic is not there, or nobody answers.
        """
        from confluent_kafka import KafkaException, TopicCollection  # noqa: PLC0415 - as above

        self._admin.poll(0)  # it is told of a refused login, and asked for a token
        if (renewed := self._credentials.renewed(self._admin, self._make_admin)) is not None:
            self._admin = renewed
        try:
            found = self._consumer.list_topics(topic, timeout=within_s)
            known = found.topics[topic]
            if known.error is not None:
                raise KafkaException(known.error)  # noqa: TRY301 - one way for what either request says
            if str(found.cluster_id).startswith(EMBEDDED):  # it describes no topics
                return TopicShape(len(known.partitions), None, embedded=True)
            asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=within_s)
            described = asked[topic].result()
        except KafkaException as error:
            code = error.args[0].name()
            if code in PASSING:
                return None
            if code == _ABSENT:
                raise absent(topic) from error
            if not code.startswith("_"):  # a broker said so: it can be reached
                raise unreadable(topic, code) from error
            raise ClusterError(str(why_unreachable(self._kafka, code))) from error
        return TopicShape(len(described.partitions), _named(described.topic_id))


class Onlooker:
    """Asks how far a topic goes, as a client that is in no group and that reads committed. From one thread at a time.

    Args:
        kafka: The cluster.
        topic: Its name.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._credentials = Credentials(kafka, quiet=True)  # the member of the group tells
        self._client, self._shapes = self._make_client()

    def _make_client(self) -> tuple[Any, TopicShapes]:
        from confluent_kafka import Consumer  # noqa: PLC0415 - only who asks pays for the client

        alone = {"group.id": "sluicegate-reader", "isolation.level": "read_committed", "log_level": 0}
        client = Consumer({**self._credentials.config(), **alone})
        return client, TopicShapes(self._kafka, client)

    def shape(self, *, within_s: float) -> TopicShape | None:
        """As :meth:`TopicShapes.ask`."""
        self._client.poll(0)  # it is told of a refused login
        if (renewed := self._credentials.renewed(self._client, self._make_client)) is not None:
            self._client.close()
            self._client, self._shapes = renewed
        return self._shapes.ask(self._topic, within_s=within_s)

    def ask(
        self, partitions: Iterable[Partition], *, within_s: float
    ) -> tuple[dict[Partition, int], str | None]:
        """Where partitions of the topic end, and which topic of its name they are of. Blocking.

        Raises:
            KafkaException: The brokers do not say so in time, or refuse.
            ClusterError: The topic is not there, or nobody answers.
        """
        shape = self.shape(within_s=within_s)
        bounds = log_bounds(self._client, partitions, within_s=within_s)
        return {
            one: end for one, (_, end) in bounds.items()
        }, shape.incarnation if shape is not None else None


def log_bounds(
    consumer: Any, partitions: Iterable[Partition], *, within_s: float
) -> dict[Partition, tuple[int, int]]:
    """The first offset of each log, and the one where it ends for this client. Blocking, in the client's thread.

    A client that reads committed sees the end before the first transaction that is open.

    Args:
        consumer: A client; it finds a leader that has changed, which an admin client does not.
        partitions: Whose logs.
        within_s: For each of them.

    Raises:
        KafkaException: The brokers do not say so in time, or refuse.
    """
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who asks pays for the client

    return {one: consumer.get_watermark_offsets(TopicPartition(*one), timeout=within_s) for one in partitions}


def diverged(kafka: KafkaSettings, commits: Sequence[Any], *, within_s: float) -> set[Partition]:
    """The partitions whose log was cut before a commit that names its leader's epoch, though it may have grown since.

    A client compares epochs in its first call alone, as long as it knows no metadata. So each question has one of its own.
    Blocking, some tens of milliseconds.

    Args:
        kafka: The cluster.
        commits: Offsets with leaders' epochs, as the group gives them.
        within_s: For all of them.

    Raises:
        KafkaException: The brokers do not say so in time, or refuse.
    """
    from confluent_kafka import Consumer, KafkaError, KafkaException  # noqa: PLC0415 - only who asks pays for the client

    role = {
        "group.id": "sluicegate-reader",
        "enable.auto.commit": False,  # a worker has no right on this group, and closing would wait 45 s for it
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_uncommitted",  # an open transaction is no reason to wait
        "fetch.message.max.bytes": 1,  # a batch is enough to know
        "log_level": 0,
    }
    client = Consumer({**client_config(kafka), **role})
    found, waiting = set(), {(one.topic, one.partition) for one in commits}
    end = time.monotonic() + within_s
    try:
        client.assign(list(commits))
        while waiting:
            message = client.poll(max(0.0, end - time.monotonic()))
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's own name
            error, partition = message.error(), (message.topic(), message.partition())
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                waiting.discard(partition)
            elif error.code() in CUT:
                found.add(partition)
                waiting.discard(partition)
            elif partition in waiting:
                raise KafkaException(error)
    finally:
        client.close()
    return found


def _named(identity: Any) -> str | None:
    """An id as text; None for the zero that stands for none."""
    if identity is None or not (
        identity.get_most_significant_bits() or identity.get_least_significant_bits()
    ):
        return None
    return str(identity)
