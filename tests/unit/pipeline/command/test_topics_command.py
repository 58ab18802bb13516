"""Configuration of topics that are created, over the plan's."""

from __future__ import annotations

import pytest
import typer

from sluicegate.pipeline.command.topics import configured
from sluicegate.pipeline.kafka.topics import plan_topics
from sluicegate.pipeline.settings.tree import load_settings

PLAN = plan_topics(load_settings(), partitions=3, replication=3)


def test_configuration_goes_over_the_plans_and_changes_nothing_else() -> None:
    given = ["posts.retention.ms=86400000", "posts.max.message.bytes=2097152", "dead_letter.retention.ms=-1"]
    topics = {one.setting: one for one in configured(PLAN, given)}
    planned = {one.setting: one.config for one in PLAN}
    assert topics["topics.posts"].config == planned["topics.posts"] | {
        "retention.ms": "86400000",
        "max.message.bytes": "2097152",
    }
    assert topics["topics.dead_letter"].config["retention.ms"] == "-1"
    for one in PLAN:
        assert (topics[one.setting].name, topics[one.setting].partitions) == (one.name, one.partitions)
    assert topics["topics.allow"].config == planned["topics.allow"]


@pytest.mark.parametrize(
    "given", ["post.retention.ms=1", "posts=1", "posts.retention.ms", "posts.retention.ms="]
)
def test_what_configures_no_topic_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"write it as posts\.retention\.ms=86400000.*dead_letter"):
        configured(PLAN, [given])
