"""Topics: which ones a deployment needs, with which properties and rights (pure), and their creation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.unreachable import ask_metadata, why_unreachable
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


PASSING = frozenset(
    {"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT"}
)
"""Brokers that answer, and soon will otherwise. Errors that the client makes do not say whether they pass."""
EMBEDDED = "mockCluster"
"""How the embedded broker's cluster id begins: it is librdkafka's mock cluster."""
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
        if self._credentials.look(self._admin):
            self._admin = self._make_admin()
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
        self._open()

    def _open(self) -> None:
        from confluent_kafka import Consumer  # noqa: PLC0415 - only who asks pays for the client

        alone = {"group.id": "sluicegate-reader", "isolation.level": "read_committed", "log_level": 0}
        self._client = Consumer({**self._credentials.config(), **alone})
        self._shapes = TopicShapes(self._kafka, self._client)

    def shape(self, *, within_s: float) -> TopicShape | None:
        """As :meth:`TopicShapes.ask`."""
        self._client.poll(0)  # it is told of a refused login
        if self._credentials.look(self._client):
            before = self._client
            self._open()
            before.close()
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


FOR_EVER_MS = -1
"""Kafka's own number for a topic that forgets nothing."""
Cleanup = Literal["delete", "compact"]

_DAY_MS = 86_400_000
_RETENTION_DAYS = 7
_DEAD_LETTER_DAYS = 30  # longer than a holiday: somebody has to look at them
_SMALL_PARTITIONS = 1  # one order for shared state, and for dead letters, which are few
SHARED_PARTITION = 0
"""Where shared state is written, though the control topic have more: a key that moved would be there twice,
and a change of one would not reach the other."""
_REQUEST_S = 30.0


@dataclass(frozen=True, slots=True)
class PlannedTopic:
    """One topic, and who needs which rights on it."""

    setting: str
    """The setting that names it, such as ``topics.posts``."""
    name: str
    partitions: int
    replication: int
    cleanup: Cleanup
    retention_ms: int | None
    """None for a compacted topic, which keeps the newest record of every key."""
    worker: tuple[str, ...]
    producer: tuple[str, ...]
    consumer: tuple[str, ...]
    compression: str | None = None
    """What the brokers keep batches in, whatever a producer sent; None for as it was sent."""
    desk: tuple[str, ...] = ()
    """What a review desk needs, where there is one."""
    shadow: tuple[str, ...] = ()
    """What a shadow and its comparator need, where there is an experiment."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Configuration over the plan's, in Kafka's own names."""

    @property
    def config(self) -> dict[str, str]:
        """Topic configuration, in Kafka's own names."""
        # With one copy missing, acks=all must still be possible, and with two missing must not.
        config = {
            "cleanup.policy": self.cleanup,
            "min.insync.replicas": str(max(1, self.replication - 1)),
        }
        if self.compression is not None:
            config["compression.type"] = self.compression
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        return config | dict(self.given)


@dataclass(frozen=True, slots=True)
class Created:
    """What became of one planned topic."""

    name: str
    outcome: Literal["created", "already there"]
    partitions: int
    """As they are now."""
    note: str = ""
    """How an existing topic differs from the plan; empty if it does not."""


def plan_topics(settings: Settings, *, partitions: int, replication: int) -> tuple[PlannedTopic, ...]:
    """Plan every topic that a worker with these settings touches.

    Args:
        settings: Names of topics.
        partitions: Of the post and verdict topics; the most workers that can share the work.
        replication: Copies of every partition.
    """
    names = settings.topics
    read, write = ("Describe", "Read"), ("Describe", "Write")

    def with_posts(setting: str, **rights: tuple[str, ...]) -> PlannedTopic:
        """A topic of posts or verdicts."""
        name: str = getattr(names, setting)
        return PlannedTopic(
            f"topics.{setting}",
            name,
            partitions,
            replication,
            "delete",
            _RETENTION_DAYS * _DAY_MS,
            worker=rights.get("worker", ()),
            producer=rights.get("producer", ()),
            consumer=rights.get("consumer", ()),
            desk=rights.get("desk", ()),
            shadow=rights.get("shadow", ()),
        )

    # What an edge forwards is read by workers with an engine, under settings of their own.
    forward = [with_posts("forward", worker=write)] if settings.worker.role == "screen" else []
    return (
        # Anybody may write there: a batch that unpacks to gigabytes must fail at the broker (docs/adr/0018).
        replace(
            with_posts("posts", worker=read, producer=write, desk=read, shadow=read),
            compression="uncompressed",
        ),
        *(
            with_posts(action, worker=write, consumer=read, desk=read, shadow=read)
            for action in ("allow", "review", "block")
        ),
        PlannedTopic(
            "topics.dead_letter",
            names.dead_letter,
            _SMALL_PARTITIONS,
            replication,
            "delete",
            _DEAD_LETTER_DAYS * _DAY_MS,
            worker=write,
            producer=(),
            consumer=read,
        ),
        PlannedTopic(
            "topics.control",
            names.control,
            _SMALL_PARTITIONS,
            replication,
            "compact",
            None,
            worker=("Describe", "Read", "Write"),
            producer=(),
            consumer=(),
            shadow=("Describe", "Read", "Write"),
        ),
        *forward,
    )


def plan_desk_topics(settings: Settings, *, partitions: int, replication: int) -> tuple[PlannedTopic, ...]:
    """Plan what a review desk needs beside the topics of a worker.

    Args:
        settings: Names of topics.
        partitions: As of the verdict topics, so that all records on one post are read by one member of a group.
        replication: Copies of every partition.
    """
    names = settings.topics
    shape: Any = {
        "partitions": partitions,
        "replication": replication,
        "cleanup": "delete",
        "retention_ms": _RETENTION_DAYS * _DAY_MS,
        "worker": (),
        "producer": (),
    }
    read, write = ("Describe", "Read"), ("Describe", "Write")
    return (
        PlannedTopic("topics.resolutions", names.resolutions, **shape, consumer=read, desk=(*read, "Write")),
        # It holds texts: who may read verdicts may not read these yet.
        PlannedTopic("topics.feedback", names.feedback, **shape, consumer=(), desk=write),
    )


def plan_candidate_topics(
    settings: Settings, *, partitions: int, replication: int
) -> tuple[PlannedTopic, ...]:
    """Plan what an experiment with a candidate needs beside the topics of a worker.

    Args:
        settings: Names of topics.
        partitions: Of the candidate's verdicts.
        replication: Copies of every partition.
    """
    names = settings.topics
    nobody: Any = {"worker": (), "producer": (), "consumer": ()}
    read, write = ("Describe", "Read"), ("Describe", "Read", "Write")
    week_ms = _RETENTION_DAYS * _DAY_MS
    return (
        PlannedTopic(
            "topics.shadow", names.shadow, partitions, replication, "delete", week_ms, **nobody, shadow=write
        ),
        PlannedTopic(
            "topics.comparisons",
            names.comparisons,
            _SMALL_PARTITIONS,
            replication,
            "delete",
            week_ms,
            **nobody,
            desk=read,
            shadow=write,
        ),
        # Not compacted: each fact follows on the one before, and a history with a hole is none.
        PlannedTopic(
            "topics.candidates",
            names.candidates,
            _SMALL_PARTITIONS,
            replication,
            "delete",
            FOR_EVER_MS,
            **{**nobody, "worker": read},
            desk=read,
            shadow=write,
        ),
    )


def plan_shadow_topics(settings: Settings) -> tuple[PlannedTopic, ...]:
    """What a shadow itself touches: posts, which it reads, and the topic that it alone writes."""
    posts, *_ = plan_topics(settings, partitions=1, replication=1)
    verdicts, *_ = plan_candidate_topics(settings, partitions=1, replication=1)
    return posts, replace(verdicts, worker=("Describe", "Write"))


def group_rights(kafka: KafkaSettings) -> dict[str, str]:
    """Rights beside those on topics, by who needs them."""
    return {
        "worker": f"Read on group {kafka.group}; IdempotentWrite on the cluster (brokers before 2.8)",
        "producer": "none",
        "consumer": "Read on a group of its own",
    }


def create_topics(kafka: KafkaSettings, planned: Sequence[PlannedTopic]) -> list[Created]:
    """Create what is missing. An existing topic is left as it is. Blocking.

    Raises:
        ClusterError: The cluster does not answer, or refuses one of the topics.
    """
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - a pure plan needs no client
    from confluent_kafka.admin import AdminClient, NewTopic  # noqa: PLC0415 - the same

    admin = AdminClient(client_config(kafka))
    there = _partition_counts(admin, kafka)
    missing = [topic for topic in planned if topic.name not in there]
    new = [
        NewTopic(one.name, one.partitions, replication_factor=one.replication, config=one.config)
        for one in missing
    ]
    results = admin.create_topics(new, request_timeout=_REQUEST_S) if new else {}
    raced = set()
    for name, result in results.items():
        try:
            result.result()
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise ClusterError(
                    f"topic {name}: the cluster has fewer brokers than copies are wanted; "
                    "give --replication 1 where there is one broker"
                ) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ClusterError(
                    f"topic {name}: the cluster refused it ({error.args[0].name()}: {error.args[0].str()}); "
                    "check rights, --replication and --partitions"
                ) from error
            raced.add(name)
    if raced:
        there |= _partition_counts(admin, kafka)
    return [_outcome(one, there.get(one.name)) for one in planned]


def _outcome(planned: PlannedTopic, partitions: int | None) -> Created:
    if partitions is None:
        return Created(planned.name, "created", planned.partitions)
    note = "" if partitions == planned.partitions else f"the plan has {planned.partitions} partitions"
    return Created(planned.name, "already there", partitions, note)


def _partition_counts(admin: Any, kafka: KafkaSettings) -> dict[str, int]:
    topics = ask_metadata(admin, kafka, within_s=_REQUEST_S).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}
