"""Topics: which ones a deployment needs, with which properties and rights (pure), and their creation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.unreachable import ask_metadata
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


EMBEDDED = "mockCluster"
"""How the embedded broker's cluster id begins: it is librdkafka's mock cluster."""


def absent(topic: str) -> ClusterError:
    """The error for a topic that is not there."""
    return ClusterError(
        f"topic {topic} is not there, or not for this user; `sluicegate topics create` makes it"
    )


Cleanup = Literal["delete", "compact"]

_DAY_MS = 86_400_000
_RETENTION_MS = 7 * _DAY_MS
FOR_EVER_MS = -1
"""Kafka's own number for a topic that forgets nothing."""
_DEAD_LETTER_MS = 30 * _DAY_MS  # longer than a holiday: somebody has to look at them
_FEEDBACK_MS = 30 * _DAY_MS  # a weekly cycle may fail four times, and no decision is lost
FEED_BYTES = 65 * 2**20
"""A record with a feed of threat patterns: 64 MiB, which is the most that one has, and what Kafka adds."""
_READ, _WRITE = ("Describe", "Read"), ("Describe", "Write")
_BOTH = (*_READ, "Write")
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
    cleanup: Cleanup = "delete"
    retention_ms: int | None = _RETENTION_MS
    """None for a compacted topic, which keeps the newest record of every key."""
    worker: tuple[str, ...] = ()
    producer: tuple[str, ...] = ()
    consumer: tuple[str, ...] = ()
    circle: tuple[str, ...] = ()
    """What who shares threat patterns needs, where there is a circle."""
    record_bytes: int | None = None
    """The largest batch; None leaves that to the brokers."""
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
        if self.record_bytes is not None:
            config["max.message.bytes"] = str(self.record_bytes)
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
    planned = partial(_planned, settings, replication=replication)
    with_posts = partial(planned, partitions=partitions)
    small = partial(planned, partitions=_SMALL_PARTITIONS)
    return (
        # Anybody may write there: a batch that unpacks to gigabytes must fail at the broker (docs/adr/0018).
        with_posts(
            "posts", worker=_READ, producer=_WRITE, desk=_READ, shadow=_READ, compression="uncompressed"
        ),
        *(
            with_posts(action, worker=_WRITE, consumer=_READ, desk=_READ, shadow=_READ)
            for action in ("allow", "review", "block")
        ),
        small("dead_letter", retention_ms=_DEAD_LETTER_MS, worker=_WRITE, consumer=_READ),
        small("control", cleanup="compact", retention_ms=None, worker=_BOTH, shadow=_BOTH),
    )


def plan_desk_topics(settings: Settings, *, partitions: int, replication: int) -> tuple[PlannedTopic, ...]:
    """Plan what a review desk needs beside the topics of a worker.

    Args:
        settings: Names of topics.
        partitions: As of the verdict topics, so that all records on one post are read by one member of a group.
        replication: Copies of every partition.
    """
    planned = partial(_planned, settings, partitions=partitions, replication=replication)
    return (
        planned("resolutions", consumer=_READ, desk=_BOTH),
        # It holds texts: who may read verdicts may not read these yet.
        planned("feedback", retention_ms=_FEEDBACK_MS, desk=_WRITE),
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
    planned = partial(_planned, settings, replication=replication, shadow=_BOTH)
    small = partial(planned, partitions=_SMALL_PARTITIONS, desk=_READ)
    return (
        planned("shadow", partitions=partitions),
        small("comparisons"),
        # Not compacted: each fact follows on the one before, and a history with a hole is none.
        small("candidates", retention_ms=FOR_EVER_MS, worker=_READ),
    )


def plan_pattern_topics(settings: Settings, *, replication: int) -> tuple[PlannedTopic, ...]:
    """Plan the topic of feeds of threat patterns.

    It is kept as long as a feed is good. It is not compacted: who writes another member's key would end that one's feed.

    Args:
        settings: Names of topics.
        replication: Copies of every partition.
    """
    # One partition: the feeds of a member are taken in as they were signed.
    return (
        _planned(
            settings, "patterns", partitions=1, replication=replication, circle=_BOTH, record_bytes=FEED_BYTES
        ),
    )


def plan_shadow_topics(settings: Settings) -> tuple[PlannedTopic, ...]:
    """What a shadow itself touches: posts, which it reads, and the topic that it alone writes."""
    posts, *_ = plan_topics(settings, partitions=1, replication=1)
    verdicts, *_ = plan_candidate_topics(settings, partitions=1, replication=1)
    return posts, replace(verdicts, worker=_WRITE)


def plan_of_desk(settings: Settings) -> tuple[PlannedTopic, ...]:
    """What a review desk itself touches, its rights in the place of a worker's."""
    shape: Any = {"partitions": 1, "replication": 1}
    planned = [*plan_topics(settings, **shape), *plan_desk_topics(settings, **shape)]
    if settings.candidate.experiment is not None:
        planned += plan_candidate_topics(settings, **shape)
    return tuple(replace(one, worker=one.desk) for one in planned if one.desk)


def _planned(settings: Settings, setting: str, **rest: Any) -> PlannedTopic:
    return PlannedTopic(f"topics.{setting}", getattr(settings.topics, setting), **rest)


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
