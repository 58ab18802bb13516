"""The check of a cluster: its facts are read, then compared with what the settings need. The comparison is pure."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import structlog

from sluicegate.pipeline.errors import SettingsError, StartError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.topics import EMBEDDED, PlannedTopic, plan_of_desk, plan_topics
from sluicegate.pipeline.kafka.unreachable import Cause, UnreachableError, ask_metadata
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


State = Literal["ok", "fault", "unknown"]
"""``unknown``: it could not be asked, here or after an earlier fault; neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found about one part of the set-up."""

    subject: str
    """Which part, such as ``broker`` or ``policy``."""
    state: State
    detail: str
    """What is, and for a fault what is wrong with it."""
    fix: str | None = None
    """The command that puts it right; for a fault always given."""


def ok(subject: str, detail: str) -> Result:
    """Something is as it must be."""
    return Result(subject, "ok", detail)


def fault(subject: str, detail: str, fix: str) -> Result:
    """Something is not, and this command puts it right."""
    return Result(subject, "fault", detail, fix)


def unknown(subject: str, detail: str) -> Result:
    """Something could not be asked."""
    return Result(subject, "unknown", detail)


_REPLICATION = 3  # what `topics create` makes unless told otherwise
_SKEW_MS = 2_000  # two machines that keep time by NTP are closer than a tenth of this
_WILD_MS = 86_400_000  # no clock is wrong by more than a day for long: certificates would fail
_ENOUGH_RECORDS = 2  # one record may have any timestamp that its producer gave it


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the cluster says of one topic. None stands for what could not be asked."""

    partitions: int
    leaderless: tuple[int, ...] = ()
    """Partitions without a leader: they can be neither read nor written now."""
    operations: frozenset[str] | None = None
    """What this user may do, in the words of the plan: ``Read``, ``Write``, ``Describe``."""
    cleanup: str | None = None
    compression: str | None = None
    stamps_ms: tuple[int, ...] = ()
    """Timestamps of some records, each of another one, Unix milliseconds: of each partition the latest,
    and where that is ahead of this machine's time also the first that is."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the cluster says."""

    fault: Cause | None = None
    """Why there is no answer; nothing else is known then."""
    brokers: int = 0
    embedded: bool = False
    """True for the embedded broker, which knows neither rights nor topic settings."""
    topics: Mapping[str, TopicFacts] = field(default_factory=dict)
    """Of the topics that the settings name, those that are there."""
    group_operations: frozenset[str] | None = None
    group_fault: str | None = None
    asked_at_ms: int = 0
    """This machine's clock after the last answer, Unix milliseconds."""


def cluster_results(
    settings: Settings, facts: ClusterFacts, *, option: str = "", desk: bool = False
) -> list[Result]:
    """Read the facts: one result for each part, or one for each fault of it.

    Args:
        settings: What a worker would be started with.
        facts: What the cluster said.
        option: The ``--settings`` option as given, to be repeated in commands; empty if none was.
        desk: True looks at what a review desk needs. It is in no group.
    """
    subjects = ("topics", "rights", "clocks") if desk else ("topics", "rights", "group", "clocks")
    if facts.fault is not None:
        after = "the broker did not answer"
        rest = [unknown(subject, after) for subject in subjects]
        return [fault("broker", facts.fault.detail, facts.fault.fix), *rest]
    planned = plan_of_desk(settings) if desk else plan_topics(settings, partitions=1, replication=1)
    option = f"{' --review' if desk else ''}{option}"
    what = "the embedded broker" if facts.embedded else f"{facts.brokers} broker{'s'[: facts.brokers != 1]}"
    return [
        ok("broker", f"{settings.kafka.bootstrap_servers}: {what}"),
        *_or_ok(_topic_faults(settings, facts, planned, option), ok("topics", _counted(planned, facts))),
        *_rights(settings, facts, planned, "the desk" if desk else "a worker"),
        *(_group_results(settings, facts) if "group" in subjects else ()),
        _clocks(facts),
    ]


def _topic_faults(
    settings: Settings, facts: ClusterFacts, planned: tuple[PlannedTopic, ...], option: str
) -> Iterator[Result]:
    server = f"--bootstrap-server {shlex.quote(settings.kafka.bootstrap_servers)}"
    copies = "" if facts.brokers >= _REPLICATION else f" --replication {facts.brokers}"
    for topic in planned:
        found = facts.topics.get(topic.name)
        name = shlex.quote(topic.name)
        if found is None:
            if facts.embedded:  # it makes a topic when first asked for it
                continue
            yield fault(
                "topics",
                f"{topic.name} ({topic.setting}) does not exist, or this user may not see it",
                f"sluicegate topics create{copies}{option}",
            )
            continue
        if found.leaderless:
            numbers = ", ".join(map(str, found.leaderless))
            yield fault(
                "topics",
                f"{topic.name} ({topic.setting}) has no leader for partition {numbers}: its brokers are away",
                f"kafka-topics.sh {server} --describe --topic {name}  # then start the brokers it names",
            )
        if found.cleanup is not None and found.cleanup != topic.cleanup:
            why = (
                "state would be lost" if topic.cleanup == "compact" else "records with one key would be lost"
            )
            yield fault(
                "topics",
                f"{topic.name} ({topic.setting}) has cleanup.policy {found.cleanup}, not {topic.cleanup}: {why}",
                f"kafka-configs.sh {server} --alter --entity-type topics --entity-name {name} "
                f"--add-config cleanup.policy={topic.cleanup}",
            )
        if topic.compression is not None and found.compression not in (None, topic.compression):
            yield fault(
                "topics",
                f"{topic.name} ({topic.setting}) has compression.type {found.compression}, not {topic.compression}: "
                "one small batch may unpack to gigabytes in a worker",
                f"kafka-configs.sh {server} --alter --entity-type topics --entity-name {name} "
                f"--add-config compression.type={topic.compression}",
            )


def _counted(planned: tuple[PlannedTopic, ...], facts: ClusterFacts) -> str:
    posts = facts.topics.get(planned[0].name)
    if posts is None or len(facts.topics) < len(planned):
        return "the embedded broker makes each when it is first asked for"
    return f"all {len(planned)} are there; {planned[0].name} has {posts.partitions} partitions, for as many workers"


def missing_rights(
    settings: Settings, facts: ClusterFacts, planned: tuple[PlannedTopic, ...] | None = None
) -> list[Result]:
    """A fault for each right that a worker needs and this user is known to lack.

    Args:
        settings: Of the worker.
        facts: What the cluster said.
        planned: The topics that it touches, if they are not those of these settings.
    """
    topics = [
        fault(
            "rights",
            f"this user lacks {right} on {topic.name} ({topic.setting})",
            _grant(settings, right, "topic", topic.name),
        )
        for topic in planned or plan_topics(settings, partitions=1, replication=1)
        if topic.name in facts.topics and facts.topics[topic.name].operations is not None
        for right in topic.worker
        if right not in (facts.topics[topic.name].operations or ())
    ]
    group = settings.kafka.group
    if facts.group_operations is None or "Read" in facts.group_operations:
        return topics
    return [
        *topics,
        fault("group", f"this user lacks Read on group {group}", _grant(settings, "Read", "group", group)),
    ]


def _rights(
    settings: Settings, facts: ClusterFacts, planned: tuple[PlannedTopic, ...], who: str
) -> Iterator[Result]:
    asked = sum(one.operations is not None for one in facts.topics.values())
    if not asked:
        yield unknown(
            "rights", "the embedded broker has none" if facts.embedded else "they could not be asked"
        )
        return
    faults = (one for one in missing_rights(settings, facts, planned) if one.subject == "rights")
    yield from _or_ok(faults, ok("rights", f"{who}'s rights on {asked} topics are there"))


def _group_results(settings: Settings, facts: ClusterFacts) -> Iterator[Result]:
    group = settings.kafka.group
    if facts.embedded:
        yield unknown("group", "the embedded broker cannot be asked")
    elif facts.group_fault is not None:
        yield fault(
            "group",
            f"{group} has no coordinator that answers ({facts.group_fault})",
            f"kafka-consumer-groups.sh --bootstrap-server {shlex.quote(settings.kafka.bootstrap_servers)} "
            f"--describe --group {shlex.quote(group)} --state  # says what the cluster knows of it",
        )
    else:
        faults = (one for one in missing_rights(settings, facts) if one.subject == "group")
        yield from _or_ok(faults, ok("group", f"{group}: its coordinator answers"))


def _grant(settings: Settings, right: str, resource: str, name: str) -> str:
    return (
        f"kafka-acls.sh --bootstrap-server {shlex.quote(settings.kafka.bootstrap_servers)} --add "
        f"--allow-principal User:NAME --operation {right} --{resource} {shlex.quote(name)}"
    )


def _clocks(facts: ClusterFacts) -> Result:
    """Records from the future tell that this clock and their writer's differ, by so much at least.

    One record alone tells nothing, and one of another day nothing of a clock: a producer may give a record any timestamp.

    A broker tells no time of its own. The writers are producers and other workers; among
    workers the newest verdict counts, so their clocks must agree.
    """
    stamps = [
        (stamp - facts.asked_at_ms, name) for name, one in facts.topics.items() for stamp in one.stamps_ms
    ]
    if not stamps:
        return unknown("clocks", "no record to compare with")
    ahead = [one for one in stamps if _SKEW_MS < one[0] <= _WILD_MS]
    if len(ahead) >= _ENOUGH_RECORDS:
        ahead_ms, name = max(ahead)
        return fault(
            "clocks",
            f"records are stamped after this machine's time, on {name} by {ahead_ms / 1000:.0f} s",
            "sudo timedatectl set-ntp true  # here, and on the machines of producers and workers",
        )
    ahead_ms, name = max(ahead or stamps)
    if ahead_ms > _WILD_MS:
        return unknown(
            "clocks",
            f"a record on {name} is stamped {ahead_ms / _WILD_MS:.0f} days after this machine's time: "
            "its producer gave it that timestamp, no clock is so far ahead",
        )
    if ahead:
        return unknown(
            "clocks",
            f"one record on {name} is stamped {ahead_ms / 1000:.0f} s after this machine's time: "
            "too little to judge a clock by",
        )
    return ok("clocks", "no record is stamped after this machine's time")


def _or_ok(faults: Iterator[Result], otherwise: Result) -> list[Result]:
    return list(faults) or [otherwise]


_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

_ANSWER_S = 10.0  # for the first answer, connection and name resolution included
_DETAIL_S = 10.0
_CONFIGS = ("cleanup.policy", "compression.type")
_LOOK_AGAIN_S = 0.2
_COORDINATOR_MOVES = ("NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS")


def probe_cluster(
    settings: Settings, *, patient: bool = False, planned: tuple[PlannedTopic, ...] | None = None
) -> ClusterFacts:
    """Ask. Blocking, at most about a minute; never raises for what the cluster does or lacks.

    Args:
        settings: Of the worker that the cluster is for.
        patient: True waits for brokers that may be starting.
        planned: The topics that it touches, if they are not those of these settings.
    """
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - only who asks pays for the client

    try:
        admin = AdminClient({**client_config(settings.kafka), "log_level": 0})
    except SettingsError as error:
        return ClusterFacts(fault=Cause(str(error), "sluicegate settings show  # where each comes from"))
    try:
        metadata = ask_metadata(admin, settings.kafka, within_s=_ANSWER_S, patient=patient)
    except UnreachableError as error:
        return ClusterFacts(fault=error.cause)
    planned = planned or plan_topics(settings, partitions=1, replication=1)
    names = [topic.name for topic in planned if topic.name in metadata.topics]
    embedded = str(metadata.cluster_id).startswith(EMBEDDED)
    stamps = _stamps(admin, {name: list(metadata.topics[name].partitions) for name in names})
    # The embedded broker lets the questions below time out instead of refusing them.
    operations = {} if embedded else _operations(admin, names)
    configs = {} if embedded else _configs(admin, names)
    group_operations, group_fault = (None, None) if embedded else _describe_group(admin, settings.kafka.group)
    topics = {
        name: TopicFacts(
            partitions=len(metadata.topics[name].partitions),
            leaderless=tuple(
                number for number, one in sorted(metadata.topics[name].partitions.items()) if one.leader < 0
            ),
            operations=operations.get(name),
            cleanup=configs.get(name, {}).get("cleanup.policy"),
            compression=configs.get(name, {}).get("compression.type"),
            stamps_ms=tuple(stamps.get(name, ())),
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


def require_rights(settings: Settings, planned: tuple[PlannedTopic, ...] | None = None) -> None:
    """Ask for what a worker needs: without a right it would stand still in a group, or hold for ever. Blocking.

    The control topic is left out: without it a worker judges all the same, with breakers of its own.
    An output topic that is missing is told and no more: its first verdict holds the stream until it is there.

    Args:
        settings: Of the worker.
        planned: The topics that it touches, if they are not those of these settings.

    Raises:
        StartError: A right is missing; the message has the command that grants it.
    """
    facts = probe_cluster(settings, patient=True, planned=planned)
    if facts.fault is not None:
        _log.warning("rights_not_asked", why=facts.fault.detail)
    needed = {name: one for name, one in facts.topics.items() if name != settings.topics.control}
    for missing in missing_rights(settings, replace(facts, topics=needed), planned):
        raise StartError(f"{missing.detail}; {missing.fix}")
    if facts.fault is None and not facts.embedded:
        outputs = [one.name for one in planned or () if "Write" in one.worker] or settings.topics.outputs
        for name in outputs:
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


def _configs(admin: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    from confluent_kafka.admin import ConfigResource, ResourceType  # noqa: PLC0415 - only who asks pays for it

    if not names:
        return {}
    answers = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=_DETAIL_S
    )
    return {
        resource.name: _answer(one, lambda found: {name: str(found[name].value) for name in _CONFIGS}) or {}
        for resource, one in answers.items()
    }


def _stamps(admin: Any, partitions: dict[str, list[int]]) -> dict[str, list[int]]:
    """Timestamps on each topic that has one: of each partition the latest, and the first of those ahead if it is another."""
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - only who asks pays for the client
    from confluent_kafka.admin import OffsetSpec  # noqa: PLC0415 - the same

    places = [TopicPartition(name, number) for name, numbers in partitions.items() for number in numbers]
    latest = _stamp_at(admin, places, OffsetSpec.max_timestamp())
    limit = time.time_ns() // 1_000_000 + _SKEW_MS
    ahead = [place for place, stamp in latest.items() if stamp > limit]
    first = _stamp_at(admin, ahead, OffsetSpec.for_timestamp(limit + 1))
    found: dict[str, list[int]] = {}
    for place, stamp in latest.items():
        # Older brokers tell the offset of the latest one's batch: two records are told apart by their timestamps.
        found.setdefault(place.topic, []).extend({stamp, first.get(place, stamp)})
    return found


def _stamp_at(admin: Any, places: Sequence[Any], which: Any) -> dict[Any, int]:
    """The timestamp of that record in each partition that has one."""
    answers = (
        admin.list_offsets(dict.fromkeys(places, which), request_timeout=_DETAIL_S).items() if places else ()
    )
    stamps = ((place, _answer(one, lambda found: int(found.timestamp))) for place, one in answers)
    return {place: stamp for place, stamp in stamps if stamp is not None and stamp > 0}


def _describe_group(admin: Any, group: str) -> tuple[frozenset[str] | None, str | None]:
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
