"""The plan of topics, which is pure."""

from __future__ import annotations

from sluicegate.pipeline.kafka.topics import (
    group_rights,
    plan_candidate_topics,
    plan_desk_topics,
    plan_pattern_topics,
    plan_topics,
)
from sluicegate.pipeline.patterns.pattern import MOST_BYTES
from sluicegate.pipeline.settings.tree import load_settings


def test_every_topic_of_the_settings_is_planned_once_under_its_own_name() -> None:
    settings = load_settings(topics={"posts": "in.posts", "control": "in.control"})
    planned = [
        *plan_topics(settings, partitions=6, replication=3),
        *plan_desk_topics(settings, partitions=6, replication=3),
        *plan_candidate_topics(settings, partitions=6, replication=3),
        *plan_pattern_topics(settings, replication=3),
    ]
    named = settings.topics.model_dump()
    assert {one.setting.removeprefix("topics."): one.name for one in planned} == named


def test_only_a_review_desk_writes_what_people_decided_and_texts_are_for_nobody_beside_it() -> None:
    resolutions, feedback = plan_desk_topics(load_settings(), partitions=6, replication=3)
    for one in (resolutions, feedback):
        assert (one.worker, one.producer) == ((), ())
        assert "Write" in one.desk
        assert one.partitions == 6, "all records on one post are in one partition number"
    assert (resolutions.consumer, feedback.consumer) == (("Describe", "Read"), ())


def test_a_worker_reads_nothing_of_an_experiment_but_a_history_that_is_not_compacted() -> None:
    planned = {
        one.setting: one for one in plan_candidate_topics(load_settings(), partitions=6, replication=3)
    }
    assert all((one.producer, one.consumer, one.cleanup) == ((), (), "delete") for one in planned.values())
    assert {one.setting: one.worker for one in planned.values() if one.worker} == {
        "topics.candidates": ("Describe", "Read")
    }
    assert {name: one.partitions for name, one in planned.items()} == {
        "topics.shadow": 6,
        "topics.comparisons": 1,
        "topics.candidates": 1,
    }


def test_feeds_of_patterns_have_a_topic_that_takes_the_largest_in_their_order() -> None:
    (feeds,) = plan_pattern_topics(load_settings(), replication=3)
    assert (feeds.name, feeds.partitions, feeds.circle) == ("patterns", 1, ("Describe", "Read", "Write"))
    assert (feeds.worker, feeds.producer, feeds.consumer, feeds.desk) == ((), (), (), ())
    assert feeds.cleanup == "delete", (
        "compacted, a record with another member's key would end that one's feed"
    )
    assert int(feeds.config["max.message.bytes"]) > MOST_BYTES


def test_a_shadow_writes_no_verdict_that_acts_and_no_dead_letter() -> None:
    planned = {one.setting: one for one in plan_topics(load_settings(), partitions=6, replication=3)}
    for name in ("posts", "allow", "review", "block"):
        assert planned[f"topics.{name}"].shadow == ("Describe", "Read")
    assert planned["topics.dead_letter"].shadow == ()


def test_a_review_desk_reads_what_it_makes_cases_of_and_no_dead_letters() -> None:
    planned = {one.setting: one for one in plan_topics(load_settings(), partitions=6, replication=3)}
    for name in ("posts", "allow", "review", "block"):
        assert planned[f"topics.{name}"].desk == ("Describe", "Read")
    assert planned["topics.dead_letter"].desk == planned["topics.control"].desk == ()


def test_posts_and_verdicts_have_the_partitions_asked_for_and_the_small_topics_one() -> None:
    planned = plan_topics(load_settings(), partitions=6, replication=3)
    assert {one.name: one.partitions for one in planned} == {
        "posts": 6,
        "verdicts.allow": 6,
        "verdicts.review": 6,
        "verdicts.block": 6,
        "posts.deadletter": 1,
        "sluicegate.control": 1,
    }


def test_only_the_control_topic_is_compacted_and_it_keeps_its_records() -> None:
    planned = plan_topics(load_settings(), partitions=6, replication=3)
    compacted = [one for one in planned if one.cleanup == "compact"]
    assert [one.setting for one in compacted] == ["topics.control"]
    assert "retention.ms" not in compacted[0].config
    assert all(int(one.config["retention.ms"]) > 0 for one in planned if one not in compacted)


def test_one_missing_copy_still_lets_a_producer_write_and_a_single_broker_can_have_them_all() -> None:
    (three, *_), (one, *_) = (
        plan_topics(load_settings(), partitions=1, replication=copies) for copies in (3, 1)
    )
    assert three.config["min.insync.replicas"] == "2"
    assert one.config["min.insync.replicas"] == "1"


def test_a_worker_reads_posts_and_writes_the_outputs_and_nobody_else_does_both() -> None:
    planned = {one.setting: one for one in plan_topics(load_settings(), partitions=1, replication=1)}
    posts = planned["topics.posts"]
    assert "Read" in posts.worker
    assert "Write" not in posts.worker
    assert posts.producer == ("Describe", "Write")
    assert posts.consumer == ()
    for name in ("allow", "review", "block", "dead_letter"):
        output = planned[f"topics.{name}"]
        assert "Write" in output.worker
        assert output.producer == ()
        assert output.consumer == ("Describe", "Read")


def test_rights_name_the_group_of_the_settings() -> None:
    assert "guards" in group_rights(load_settings(kafka={"group": "guards"}).kafka)["worker"]


def test_decisions_are_kept_for_longer_than_a_weekly_cycle_may_fail() -> None:
    planned = {one.setting: one for one in plan_desk_topics(load_settings(), partitions=1, replication=1)}
    assert int(planned["topics.feedback"].config["retention.ms"]) >= 30 * 86_400_000
