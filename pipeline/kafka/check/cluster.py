"""What a cluster's answers mean for a worker: broker, topics, rights, group, clocks. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluicegate.pipeline.kafka.check.result import Result, fault, ok, unknown
from sluicegate.pipeline.kafka.topics import PlannedTopic, plan_topics
from sluicegate.pipeline.kafka.unreachable import Cause
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_REPLICATION = 3  # what `topics create` makes unless told otherwise
_SKEW_MS = 2_000  # two machines that keep time by NTP are closer than a tenth of this


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the cluster says of one topic. None stands for what could not be asked."""

    partitions: int
    leaderless: tuple[int, ...] = ()
    """Partitions without a leader: they can be neither read nor written now."""
    operations: frozenset[str] | None = None
    """What this user may do, in the words of the plan: ``Read``, ``Write``, ``Describe``."""
    cleanup: str | None = None
    newest_ms: int | None = None
    """Latest timestamp of a record, Unix milliseconds; also None where the topic is empty."""


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


def cluster_results(settings: Settings, facts: ClusterFacts, *, option: str = "") -> list[Result]:
    """Read the facts: one result for each part, or one for each fault of it.

    Args:
        settings: What a worker would be started with.
        facts: What the cluster said.
        option: The ``--settings`` option as given, to be repeated in commands; empty if none was.
    """
    if facts.fault is not None:
        after = "the broker did not answer"
        rest = [unknown(subject, after) for subject in ("topics", "rights", "group", "clocks")]
        return [fault("broker", facts.fault.detail, facts.fault.fix), *rest]
    planned = plan_topics(settings, partitions=1, replication=1)
    what = "the embedded broker" if facts.embedded else f"{facts.brokers} broker{'s'[: facts.brokers != 1]}"
    return [
        ok("broker", f"{settings.kafka.bootstrap_servers}: {what}"),
        *_or_ok(_topic_faults(settings, facts, planned, option), ok("topics", _counted(planned, facts))),
        *_rights(settings, facts),
        *_group(settings, facts),
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


def _counted(planned: tuple[PlannedTopic, ...], facts: ClusterFacts) -> str:
    posts = facts.topics.get(planned[0].name)
    if posts is None or len(facts.topics) < len(planned):
        return "the embedded broker makes each when it is first asked for"
    return f"all {len(planned)} are there; {planned[0].name} has {posts.partitions} partitions, for as many workers"


def missing_rights(settings: Settings, facts: ClusterFacts) -> list[Result]:
    """A fault for each right that a worker needs and this user is known to lack."""
    topics = [
        fault(
            "rights",
            f"this user lacks {right} on {topic.name} ({topic.setting})",
            _grant(settings, right, "topic", topic.name),
        )
        for topic in plan_topics(settings, partitions=1, replication=1)
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


def _rights(settings: Settings, facts: ClusterFacts) -> Iterator[Result]:
    asked = sum(one.operations is not None for one in facts.topics.values())
    if not asked:
        yield unknown(
            "rights", "the embedded broker has none" if facts.embedded else "they could not be asked"
        )
        return
    faults = (one for one in missing_rights(settings, facts) if one.subject == "rights")
    yield from _or_ok(faults, ok("rights", f"a worker's rights on {asked} topics are there"))


def _group(settings: Settings, facts: ClusterFacts) -> Iterator[Result]:
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

    A broker tells no time of its own. The writers are producers and other workers; among
    workers the newest verdict counts, so their clocks must agree.
    """
    stamped = {name: one.newest_ms for name, one in facts.topics.items() if one.newest_ms is not None}
    if not stamped:
        return unknown("clocks", "no record to compare with")
    name, newest_ms = max(stamped.items(), key=lambda item: item[1])
    ahead_ms = newest_ms - facts.asked_at_ms
    if ahead_ms > _SKEW_MS:
        return fault(
            "clocks",
            f"the newest record on {name} is stamped {ahead_ms / 1000:.0f} s after this machine's time",
            "sudo timedatectl set-ntp true  # here, and on the machines of producers and workers",
        )
    return ok("clocks", "no record is stamped after this machine's time")


def _or_ok(faults: Iterator[Result], otherwise: Result) -> list[Result]:
    return list(faults) or [otherwise]
