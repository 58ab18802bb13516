"""What a cluster's answers mean: each fault by name, with its command."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.kafka.check import ClusterFacts, TopicFacts, cluster_results
from sluicegate.pipeline.kafka.topics import plan_topics
from sluicegate.pipeline.kafka.unreachable import Cause
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluicegate.pipeline.kafka.check import Result

NOW_MS = 1_800_000_000_000
ALL = frozenset({"Describe", "Read", "Write", "DescribeConfigs"})
SETTINGS = Settings()
SUBJECTS = ["broker", "topics", "rights", "group", "clocks"]


def topic(name: str, **changes: Any) -> TopicFacts:
    cleanup = "compact" if name == SETTINGS.topics.control else "delete"
    compression = "uncompressed" if name == SETTINGS.topics.posts else "producer"
    return dataclasses.replace(TopicFacts(3, (), ALL, cleanup, compression, (NOW_MS - 1000,)), **changes)


def facts(changed: Mapping[str, Mapping[str, Any] | None] | None = None, **more: Any) -> ClusterFacts:
    """A healthy cluster, with some topics changed or taken away."""
    changed = changed or {}
    topics = {
        name: topic(name, **(changed.get(name) or {}))
        for name in SETTINGS.topics.model_dump().values()
        if changed.get(name, {}) is not None
    }
    healthy = ClusterFacts(
        brokers=3, topics=topics, group_operations=frozenset({"Read", "Describe"}), asked_at_ms=NOW_MS
    )
    return dataclasses.replace(healthy, **more)


def faults(found: ClusterFacts, **more: Any) -> list[Result]:
    return [one for one in cluster_results(SETTINGS, found, **more) if one.state == "fault"]


def test_a_healthy_cluster_has_one_good_result_for_each_part() -> None:
    results = cluster_results(SETTINGS, facts())
    assert [one.subject for one in results] == SUBJECTS
    assert {one.state for one in results} == {"ok"}


@pytest.mark.parametrize(
    ("broken", "subject", "said", "fix"),
    [
        (facts({"posts": None}), "topics", "posts (topics.posts) does not exist", "sluicegate topics create"),
        (
            facts({"verdicts.block": {"leaderless": (1, 2)}}),
            "topics",
            "no leader for partition 1, 2",
            "kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --describe --topic verdicts.block",
        ),
        (
            facts({"sluicegate.control": {"cleanup": "delete"}}),
            "topics",
            "cleanup.policy delete, not compact",
            "--entity-name sluicegate.control --add-config cleanup.policy=compact",
        ),
        (
            facts({"posts": {"compression": "zstd"}}),
            "topics",
            "one small batch may unpack to gigabytes in a worker",
            "--entity-name posts --add-config compression.type=uncompressed",
        ),
        (
            facts({"posts": {"cleanup": "compact,delete"}}),
            "topics",
            "records with one key would be lost",
            "--entity-name posts --add-config cleanup.policy=delete",
        ),
        (
            facts({"posts": {"operations": ALL - {"Read"}}}),
            "rights",
            "lacks Read on posts (topics.posts)",
            (
                "kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:NAME "
                "--operation Read --topic posts"
            ),
        ),
        (
            facts({"posts.deadletter": {"operations": ALL - {"Write"}}}),
            "rights",
            "lacks Write on posts.deadletter",
            "--operation Write --topic posts.deadletter",
        ),
        (
            facts(group_operations=frozenset({"Describe"})),
            "group",
            "lacks Read on group sluicegate",
            "--operation Read --group sluicegate",
        ),
        (facts(group_fault="_TIMED_OUT"), "group", "no coordinator that answers", "kafka-consumer-groups.sh"),
        (
            facts({"verdicts.allow": {"stamps_ms": (NOW_MS + 3_000, NOW_MS + 90_000)}}),
            "clocks",
            "records are stamped after this machine's time, on verdicts.allow by 90 s",
            "timedatectl set-ntp true",
        ),
    ],
)
def test_each_fault_is_named_with_its_command(
    broken: ClusterFacts, subject: str, said: str, fix: str
) -> None:
    (found,) = faults(broken)
    assert found.subject == subject
    assert said in found.detail
    assert fix in (found.fix or "")


def test_every_topic_of_the_plan_is_looked_for_and_every_fault_is_shown() -> None:
    planned = plan_topics(SETTINGS, partitions=1, replication=1)
    assert [one.detail.split()[0] for one in faults(facts(dict.fromkeys(facts().topics)))] == [
        one.name for one in planned
    ]


@pytest.mark.parametrize(
    ("brokers", "command"),
    [
        (1, "sluicegate topics create --replication 1 --settings 'my file.yaml'"),
        (3, "sluicegate topics create --settings 'my file.yaml'"),
    ],
)
def test_the_command_for_topics_fits_the_cluster_and_repeats_the_settings(brokers: int, command: str) -> None:
    (found,) = faults(
        facts({"posts": None}, brokers=brokers), option=f" --settings {shlex.quote('my file.yaml')}"
    )
    assert found.fix == command


def test_a_right_that_a_worker_does_not_need_is_not_missed() -> None:
    least = {name: {"operations": frozenset({"Describe", "Write"})} for name in facts().topics}
    least["posts"] = {"operations": frozenset({"Describe", "Read"})}
    least["sluicegate.control"] = {"operations": ALL}
    assert faults(facts(least)) == []


def test_after_a_silent_broker_nothing_else_is_judged() -> None:
    results = cluster_results(SETTINGS, ClusterFacts(fault=Cause("nobody answers", "start one")))
    assert [(one.subject, one.state) for one in results] == [
        ("broker", "fault"),
        *((subject, "unknown") for subject in SUBJECTS[1:]),
    ]
    assert (results[0].detail, results[0].fix) == ("nobody answers", "start one")


def test_what_could_not_be_asked_is_no_fault_and_no_promise() -> None:
    unasked = {
        name: {"operations": None, "cleanup": None, "compression": None, "stamps_ms": ()}
        for name in facts().topics
    }
    results = cluster_results(SETTINGS, facts(unasked, group_operations=None))
    assert [one.state for one in results] == ["ok", "ok", "unknown", "ok", "unknown"]


def test_the_embedded_broker_makes_topics_itself_and_has_no_rights() -> None:
    results = cluster_results(SETTINGS, ClusterFacts(brokers=1, embedded=True))
    assert [one.state for one in results] == ["ok", "ok", "unknown", "unknown", "unknown"]


def test_clocks_as_close_as_ntp_keeps_them_are_fine() -> None:
    assert faults(facts({"posts": {"stamps_ms": (NOW_MS + 500, NOW_MS + 600)}})) == []


DAY_MS = 86_400_000
YEAR_9999_MS = 253_402_300_799_000


def clocks(**stamps: tuple[int, ...]) -> Result:
    found = facts({name: {"stamps_ms": given} for name, given in stamps.items()})
    return next(one for one in cluster_results(SETTINGS, found) if one.subject == "clocks")


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (NOW_MS + 90_000, "one record on posts is stamped 90 s after this machine's time: too little"),
        (NOW_MS + 40 * DAY_MS, "a record on posts is stamped 40 days after this machine's time"),
        (YEAR_9999_MS, "no clock is so far ahead"),
    ],
)
def test_clocks_are_not_judged_by_one_record(stamp: int, said: str) -> None:
    found = clocks(posts=(NOW_MS - 1_000, stamp))
    assert (found.state, found.fix) == ("unknown", None)
    assert said in found.detail


@pytest.mark.parametrize("stamp", [0, 1, -1, NOW_MS - 60 * 365 * DAY_MS])
def test_a_record_from_long_ago_tells_nothing_of_clocks(stamp: int) -> None:
    assert clocks(posts=(stamp, NOW_MS - 1_000)).state == "ok"


def test_wild_records_neither_make_a_clock_wrong_nor_hide_one_that_is() -> None:
    assert clocks(posts=(YEAR_9999_MS, YEAR_9999_MS - 1)).state == "unknown"
    found = clocks(posts=(YEAR_9999_MS, NOW_MS + 60_000, NOW_MS + 30_000))
    assert (found.state, "on posts by 60 s" in found.detail) == ("fault", True)


def test_a_desk_is_looked_at_for_its_own_topics_and_rights_and_is_in_no_group() -> None:
    results = cluster_results(SETTINGS, facts(), desk=True)
    assert [one.subject for one in results] == ["broker", "topics", "rights", "clocks"]
    assert {one.state for one in results} == {"ok"}
    unread = {"operations": frozenset({"Describe", "Write"})}
    (lacking,) = faults(facts({"resolutions": unread, "sluicegate.control": unread}), desk=True)
    assert "lacks Read on resolutions" in lacking.detail
    (missing,) = faults(facts({"feedback": None}), desk=True, option=" --settings x.yaml")
    assert missing.fix == "sluicegate topics create --review --settings x.yaml"
    assert faults(facts({"feedback": None, "resolutions": None})) == []
