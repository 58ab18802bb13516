"""The shape of a topic: how many partitions it has, and which topic of its name it is. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.unreachable import why_unreachable
from sluicegate.pipeline.settings.tree import KafkaSettings

PASSING = frozenset(
    {"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT"}
)
"""Brokers that answer, and soon will otherwise. Errors that the client makes do not say whether they pass."""
_ABSENT = "UNKNOWN_TOPIC_OR_PART"


@dataclass(frozen=True, slots=True)
class TopicShape:
    """What may change of a topic while somebody reads it."""

    partitions: int
    incarnation: str | None
    """Another one once the topic is deleted and made again; None where nobody tells (brokers before 2.8)."""


def absent(topic: str) -> ClusterError:
    """The error for a topic that is not there."""
    return ClusterError(
        f"topic {topic} is not there, or not for this user; `sluicegate topics create` makes it"
    )


def unreadable(topic: str, code: str) -> ClusterError:
    """The error for a topic that the brokers do not give."""
    return ClusterError(f"topic {topic} cannot be read ({code}); check that it exists and the rights")


class TopicShapes:
    """Asks for shapes again and again, of one topic at a time: a cluster may have many. From one thread.

    Args:
        kafka: The cluster.
        consumer: Its client, which creates no topic by asking for it.
    """

    def __init__(self, kafka: KafkaSettings, consumer: Any) -> None:
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - only who asks pays for the client

        self._kafka = kafka
        self._consumer = consumer
        self._admin = AdminClient({**client_config(kafka), "log_level": 0})  # the consumer's log has it all

    def ask(self, topic: str, *, within_s: float) -> TopicShape | None:
        """The shape of a topic now; None where the brokers answer that they cannot tell just now.

        Raises:
            ClusterError: The topic is not there, or nobody answers.
        """
        from confluent_kafka import KafkaException, TopicCollection  # noqa: PLC0415 - as above

        try:
            found = self._consumer.list_topics(topic, timeout=within_s)
            known = found.topics[topic]
            if known.error is not None:
                raise KafkaException(known.error)  # noqa: TRY301 - one way for what either request says
            if found.controller_id not in found.brokers:  # the mock cluster: it describes no topics
                return TopicShape(len(known.partitions), None)
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


def _named(identity: Any) -> str | None:
    """An id as text; None for the zero that stands for none."""
    if identity is None or not (
        identity.get_most_significant_bits() or identity.get_least_significant_bits()
    ):
        return None
    return str(identity)
