"""Asks a cluster what a worker would need of it. Reads only: nothing is written, created or joined."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from sluicegate.pipeline.errors import SettingsError, StartError
from sluicegate.pipeline.kafka.check.cluster import ClusterFacts, TopicFacts, missing_rights
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.topics import plan_topics
from sluicegate.pipeline.kafka.unreachable import Cause, UnreachableError, ask_metadata
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

_ANSWER_S = 10.0  # for the first answer, connection and name resolution included
_DETAIL_S = 10.0
_EMBEDDED_CLUSTER = "mockCluster"  # how librdkafka's mock cluster begins its id
_LOOK_AGAIN_S = 0.2
_COORDINATOR_MOVES = ("NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS")


def probe_cluster(settings: Settings) -> ClusterFacts:
    """Ask. Blocking, at most about a minute; never raises for what the cluster does or lacks."""
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - only who asks pays for the client

    try:
        admin = AdminClient({**client_config(settings.kafka), "log_level": 0})
    except SettingsError as error:
        return ClusterFacts(fault=Cause(str(error), "sluicegate settings show  # where each comes from"))
    try:
        metadata = ask_metadata(admin, settings.kafka, within_s=_ANSWER_S)
    except UnreachableError as error:
        return ClusterFacts(fault=error.cause)
    planned = plan_topics(settings, partitions=1, replication=1)
    names = [topic.name for topic in planned if topic.name in metadata.topics]
    embedded = str(metadata.cluster_id).startswith(_EMBEDDED_CLUSTER)
    newest = _newest(admin, {name: list(metadata.topics[name].partitions) for name in names})
    # The embedded broker lets the questions below time out instead of refusing them.
    operations = {} if embedded else _operations(admin, names)
    cleanup = {} if embedded else _cleanup(admin, names)
    group_operations, group_fault = (None, None) if embedded else _group(admin, settings.kafka.group)
    topics = {
        name: TopicFacts(
            partitions=len(metadata.topics[name].partitions),
            leaderless=tuple(
                number for number, one in sorted(metadata.topics[name].partitions.items()) if one.leader < 0
            ),
            operations=operations.get(name),
            cleanup=cleanup.get(name),
            newest_ms=newest.get(name),
        )
        for name in names
    }
    return ClusterFacts(
        brokers=len(metadata.brokers),
        embedded=embedded,
        topics=topics,
        group_operations=group_operations,
        group_fault=group_fault,
        asked_at_ms=time.time_ns() // 1_000_000,
    )


def require_rights(settings: Settings) -> None:
    """Ask for what a worker needs: without a right it would stand still in a group, or hold for ever. Blocking.

    The control topic is left out: without it a worker judges all the same, with breakers of its own.
    An output topic that is missing is told and no more: its first verdict holds the stream until it is there.

    Raises:
        StartError: A right is missing; the message has the command that grants it.
    """
    facts = probe_cluster(settings)
    needed = {name: one for name, one in facts.topics.items() if name != settings.topics.control}
    for missing in missing_rights(settings, replace(facts, topics=needed)):
        raise StartError(f"{missing.detail}; {missing.fix}")
    if facts.fault is None and not facts.embedded:
        for name in settings.topics.outputs:
            if name not in facts.topics:
                _log.warning("topic_missing", topic=name, fix="sluicegate topics create")


def _operations(admin: Any, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
    from confluent_kafka import TopicCollection  # noqa: PLC0415 - only who asks pays for the client

    if not names:
        return {}
    answers = admin.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_DETAIL_S
    )
    return {
        name: _answer(one, lambda found: _words(found.authorized_operations)) for name, one in answers.items()
    }


def _cleanup(admin: Any, names: Sequence[str]) -> dict[str, str | None]:
    from confluent_kafka.admin import ConfigResource, ResourceType  # noqa: PLC0415 - only who asks pays for it

    if not names:
        return {}
    answers = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=_DETAIL_S
    )
    return {
        resource.name: _answer(one, lambda found: str(found["cleanup.policy"].value))
        for resource, one in answers.items()
    }


def _newest(admin: Any, partitions: dict[str, list[int]]) -> dict[str, int]:
    """The latest timestamp on each topic that has one."""
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who asks pays for the client
    from confluent_kafka.admin import OffsetSpec  # noqa: PLC0415 - the same

    wanted = {
        TopicPartition(name, number): OffsetSpec.max_timestamp()
        for name, numbers in partitions.items()
        for number in numbers
    }
    found: dict[str, int] = {}
    answers = admin.list_offsets(wanted, request_timeout=_DETAIL_S) if wanted else {}
    for place, one in answers.items():
        stamp = _answer(one, lambda found: int(found.timestamp))
        if stamp is not None and stamp > 0:
            found[place.topic] = max(stamp, found.get(place.topic, 0))
    return found


def _group(admin: Any, group: str) -> tuple[frozenset[str] | None, str | None]:
    """What this user may do with the group, and why it could not be asked if that is a fault."""
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - only who asks pays for the client

    deadline = time.monotonic() + _DETAIL_S
    while True:
        answer = admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=_DETAIL_S
        )[group]
        try:
            return _words(answer.result(_DETAIL_S).authorized_operations), None
        except TimeoutError:
            return None, "_TIMED_OUT"
        except KafkaException as error:
            code, name = error.args[0].code(), error.args[0].name()
        if code == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return frozenset(), None
        if code in (KafkaError.GROUP_ID_NOT_FOUND, KafkaError._UNSUPPORTED_FEATURE):  # noqa: SLF001 - its own name
            return None, None  # nobody has joined it yet, or a server that cannot be asked
        # The first question after a start of the cluster makes the coordinators' topic.
        if name not in _COORDINATOR_MOVES or time.monotonic() > deadline:
            return None, name
        time.sleep(_LOOK_AGAIN_S)


def _words(operations: Any) -> frozenset[str] | None:
    """Kafka's operations as the plan of topics writes them; None from a server that tells none."""
    if operations is None:
        return None
    return frozenset(one.name.title().replace("_", "") for one in operations)


def _answer(future: Any, read: Callable[[Any], _T]) -> _T | None:
    """What was asked, or None where the cluster refuses or is too slow: that is no fault of the set-up."""
    from confluent_kafka import KafkaException  # noqa: PLC0415 - only who asks pays for the client

    try:
        return read(future.result(_DETAIL_S))
    except (KafkaException, TimeoutError):
        return None
