"""``sluicegate check`` on Apache Kafka: a sound set-up, a broken one, and the commands that put it right."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings
from support.command import run
from support.kafka import ApacheKafka
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

TOPICS = TopicSettings()


def faults(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """The faults by subject."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in json.loads(done.stdout)["results"]:
        if result["state"] == "fault":
            found.setdefault(result["subject"], []).append(result)
    return found


@pytest.fixture(scope="module")
def guarded() -> Iterator[ApacheKafka]:
    """A broker that knows rights: whatever has no rule is free, as in a cluster that begins to use them."""
    with ApacheKafka(
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
    ) as cluster:
        yield cluster


def allow_only(cluster: ApacheKafka, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    """Everything else on this resource is refused from now on."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    rules = [
        AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL,
            "User:ANONYMOUS",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    for answer in admin.create_acls(rules).values():
        answer.result(30)


def stamped(cluster: ApacheKafka, topic: str, *ahead_s: float) -> None:
    """Produce a record for each, in one batch, with a timestamp so far ahead of now."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0, "linger.ms": 500})
    for seconds in ahead_s:
        producer.produce(topic, b"{}", partition=0, timestamp=int((time.time() + seconds) * 1000))
    assert producer.flush(30) == 0


@pytest.mark.kafka
def test_a_broken_set_up_has_each_fault_named_and_the_commands_put_it_right(
    guarded: ApacheKafka, tmp_path: Path
) -> None:
    bundle = write_small_bundle(tmp_path / "bundle")
    pinned = Bundle.open(bundle).digest
    policy = tmp_path / "policy.yaml"
    policy.write_text("name: broken\nrules: [\n")
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        json.dumps(
            {
                "kafka": {"bootstrap_servers": guarded.bootstrap},
                "engine": {
                    "backend": "completions",
                    "bundle": str(bundle),
                    "url": "http://127.0.0.1:9",
                    "digest": "sha256:" + "0" * 64,
                },
                "policy": {"path": str(policy)},
            }
        )
    )
    for topic in (TOPICS.posts, TOPICS.allow, TOPICS.review, TOPICS.block, TOPICS.control):
        guarded.create_topic(topic, 1)  # the dead letters' is missing, and control is not compacted
    describe = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    allow_only(guarded, ResourceType.TOPIC, TOPICS.block, *describe)
    allow_only(guarded, ResourceType.GROUP, "sluicegate", AclOperation.DESCRIBE)
    stamped(guarded, TOPICS.allow, 600, 601)

    done = run("check", "--json", "--settings", str(settings))
    found = faults(done)

    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    assert found.keys() == {"topics", "rights", "group", "clocks", "bundle", "policy"}
    unpacking, missing, not_compacted = found["topics"]
    assert "posts (topics.posts) has compression.type producer, not uncompressed" in unpacking["detail"]
    assert "--entity-name posts --add-config compression.type=uncompressed" in unpacking["fix"]
    assert "posts.deadletter (topics.dead_letter) does not exist" in missing["detail"]
    assert "sluicegate.control (topics.control) has cleanup.policy delete" in not_compacted["detail"]
    assert "--entity-name sluicegate.control --add-config cleanup.policy=compact" in not_compacted["fix"]
    (right,) = found["rights"]
    assert "lacks Write on verdicts.block" in right["detail"]
    assert "--operation Write --topic verdicts.block" in right["fix"]
    assert "lacks Read on group sluicegate" in found["group"][0]["detail"]
    assert "--operation Read --group sluicegate" in found["group"][0]["fix"]
    assert "verdicts.allow" in found["clocks"][0]["detail"]
    assert found["bundle"][0]["fix"].startswith(f"export SLUICEGATE_ENGINE__DIGEST={pinned}")
    assert str(policy) in found["policy"][0]["detail"]
    assert found["policy"][0]["fix"] == f"sluicegate policy check {policy}"

    # The commands do what they promise: those of this project as they stand, the grants by the same
    # call that kafka-acls.sh makes.
    program, *arguments = shlex.split(missing["fix"])
    assert program == "sluicegate"
    assert run(*arguments).returncode == 0
    allow_only(guarded, ResourceType.TOPIC, TOPICS.block, AclOperation.WRITE)
    allow_only(guarded, ResourceType.GROUP, "sluicegate", AclOperation.READ)
    again = run("check", "--json", "--settings", str(settings), SLUICEGATE_ENGINE__DIGEST=pinned)
    # With its bundle the engine is looked at, and its server is not there.
    assert faults(again).keys() == {"topics", "clocks", "engine", "policy"}
    uncompressed, compacted = faults(again)["topics"]  # what exists is left as it is
    assert "compression.type" in uncompressed["detail"]
    assert "cleanup.policy" in compacted["detail"]
    assert faults(again)["engine"][0]["fix"].startswith("curl -sS http://127.0.0.1:9/v1/models")


@pytest.mark.kafka
def test_a_set_up_made_by_topics_create_is_sound(kafka: ApacheKafka) -> None:
    named = {
        f"SLUICEGATE_TOPICS__{name.upper()}": f"sound.{topic}" for name, topic in TOPICS.model_dump().items()
    }
    named |= {"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "SLUICEGATE_ENGINE__BACKEND": "fake"}
    assert run("topics", "create", "--replication", "1", "--partitions", "2", **named).returncode == 0
    done = run("check", **named)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("all is in place")
    assert "\x1b" not in done.stdout

    # One record alone is no sign of a clock, wherever it stands in its batch.
    stamped(kafka, "sound.posts", -9, 600, -8)
    done = run("check", **named)
    assert done.returncode == 0, done.stdout
    assert "one record on sound.posts is stamped" in done.stdout
    stamped(kafka, "sound.posts", -7, 700, -6)
    assert "timedatectl" in run("check", **named).stdout


async def test_the_embedded_broker_is_sound() -> None:
    async with EmbeddedBroker() as broker:
        # The broker's pipe is read by its own process: waiting here stops nothing.
        done = run(
            "check",
            "--json",
            SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=broker.address,
            SLUICEGATE_ENGINE__BACKEND="fake",
        )
    assert done.returncode == 0, done.stdout
    states = {result["subject"]: result["state"] for result in json.loads(done.stdout)["results"]}
    assert states["broker"] == states["topics"] == states["engine"] == states["policy"] == "ok"
    assert states["rights"] == "unknown"


def test_no_broker_at_all_is_one_fault() -> None:
    done = run(
        "check",
        "--json",
        SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:9",
        SLUICEGATE_ENGINE__BACKEND="fake",
    )
    assert done.returncode == 1
    assert faults(done).keys() == {"broker"}


def test_settings_that_cannot_work_are_the_only_fault(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("drain: {budget_s: 5}\n")
    done = run("check", "--json", "--settings", str(path))
    assert done.returncode == 1
    (found,) = faults(done)["settings"]
    assert "raise drain.budget_s to 45" in found["detail"]
    assert json.loads(done.stdout)["results"] == [found]
