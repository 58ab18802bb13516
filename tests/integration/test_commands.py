"""Commands that talk to a cluster: post, verdicts, topics create."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas import Verdict, encode
from support.command import run

if TYPE_CHECKING:
    import subprocess

    from sluicegate.pipeline.kafka.reader import TopicRecord
    from support.kafka import ApacheKafka

TOPICS = TopicSettings()


def run_on(
    bootstrap: str, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return run(*arguments, given=given, SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=bootstrap, **variables)


def read(bootstrap: str, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    with TopicReader(KafkaSettings(bootstrap_servers=bootstrap), [topic], start="beginning") as reader:
        records = []
        while not reader.at_end:
            records += reader.read(0.2)
    return [(record.key, record.value) for record in records]


def write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0


def a_verdict(post_id: str) -> bytes:
    digest = "sha256:" + "0" * 64
    fields = {
        "verdict_id": f"verdict of {post_id}",
        "post_id": post_id,
        "revision": 0,
        "tenant": "default",
        "kind": "post",
        "content_hash": digest,
        "action": "review",
        "disposition": "limit_reach",
        "severity": None,
        "failure": {"code": "too_long", "mode": "review"},
        "assessed_by": "none",
        "policy": {"name": "n", "version": "1", "digest": digest, "rule": "failure_mode"},
        "engine": {"digest": digest, "backend": "fake", "model": "m", "layout_digest": digest},
        "timings": {"queued_ms": 0.0, "engine_ms": 0.0, "total_ms": 0.0},
        "judged_at": "2026-01-02T03:04:05Z",
    }
    return encode(Verdict.model_validate(fields))


async def test_lines_become_records_keyed_by_id_and_the_rest_is_refused_unless_raw() -> None:
    async with EmbeddedBroker([TOPICS.posts]) as broker:
        lines = '{"id": "a", "text": "one"}\n\nno json\n{"text": "no id"}\n{"id": "b", "text": "two"}\n'
        done = await asyncio.to_thread(run_on, broker.address, "post", "-", "--json", given=lines)
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert [one["line"] for one in told.pop("troubles")] == [3, 4]
        assert told == {"sent": 2, "refused": 2, "failed": 0}
        records = await asyncio.to_thread(read, broker.address, TOPICS.posts)
        assert sorted(records) == [
            (b"a", b'{"id": "a", "text": "one"}'),
            (b"b", b'{"id": "b", "text": "two"}'),
        ]
        raw = await asyncio.to_thread(run_on, broker.address, "post", "-", "--raw", given=lines)
        assert raw.returncode == 0, raw.stderr
        assert raw.stdout == "4 sent to posts, 0 refused, 0 failed\n"
        assert (None, b"no json") in await asyncio.to_thread(read, broker.address, TOPICS.posts)


async def test_verdicts_are_read_to_the_end_by_action_and_what_is_none_is_passed_over() -> None:
    async with EmbeddedBroker(TOPICS.outputs) as broker:
        write(broker.address, TOPICS.review, [a_verdict("first"), b"junk", a_verdict("second")])
        whole = ("verdicts", "--from", "beginning", "--no-follow")
        shown = await asyncio.to_thread(run_on, broker.address, *whole)
        assert shown.returncode == 0, shown.stderr
        lines = shown.stdout.splitlines()
        assert len(lines) == 2
        assert "first" in lines[0]
        assert "second" in lines[1]
        assert "1 records" in shown.stderr
        one = await asyncio.to_thread(run_on, broker.address, *whole, "--limit", "1", "--format", "json")
        assert json.loads(one.stdout)["post_id"] == "first"
        other = await asyncio.to_thread(run_on, broker.address, *whole, "--action", "block")
        assert (other.returncode, other.stdout) == (0, "")
        table = await asyncio.to_thread(run_on, broker.address, *whole, "--format", "table")
        assert "second" in table.stdout


async def test_a_reader_from_the_end_sees_only_what_comes_from_then_on() -> None:
    async with EmbeddedBroker([TOPICS.posts]) as broker:
        write(broker.address, TOPICS.posts, [b"before"])
        with TopicReader(
            KafkaSettings(bootstrap_servers=broker.address), [TOPICS.posts], start="end"
        ) as reader:
            write(broker.address, TOPICS.posts, [b"after"])
            records: list[TopicRecord] = []
            async with asyncio.timeout(20):
                while not records:
                    records = await asyncio.to_thread(reader.read, 0.2)
        assert [record.value for record in records] == [b"after"]


async def test_a_topic_that_does_not_exist_is_named_with_the_fix() -> None:
    async with EmbeddedBroker([TOPICS.posts]) as broker:
        done = await asyncio.to_thread(run_on, broker.address, "verdicts", "--action", "block")
    assert done.returncode == 1
    assert done.stderr == (
        "sluicegate: topic verdicts.block is not there, or not for this user; `sluicegate topics create` makes it\n"
    )


@pytest.mark.kafka
def test_topics_are_created_as_planned_and_creating_them_again_changes_nothing(kafka: ApacheKafka) -> None:
    create = ("topics", "create", "--partitions", "2", "--replication", "1", "--json")
    first = run_on(kafka.bootstrap, *create)
    assert first.returncode == 0, first.stderr
    assert {(one["outcome"], one["name"]) for one in json.loads(first.stdout)} == {
        ("created", name)
        for name in TOPICS.model_dump(
            exclude={"forward", "resolutions", "feedback", "shadow", "comparisons", "candidates", "patterns"}
        ).values()  # an edge's, a desk's, an experiment's and a circle's
    }
    again = run_on(kafka.bootstrap, *create)
    assert {one["outcome"] for one in json.loads(again.stdout)} == {"already there"}
    wider = run_on(kafka.bootstrap, "topics", "create", "--partitions", "3", "--replication", "1")
    assert "posts: already there, partitions 2; the plan has 3 partitions" in wider.stdout


@pytest.mark.kafka
def test_a_topic_that_the_cluster_refuses_is_named_with_the_fix(kafka: ApacheKafka) -> None:
    create = ("topics", "create", "--replication", "3")
    refused = run_on(kafka.bootstrap, *create, SLUICEGATE_TOPICS__POSTS="never.made")
    assert refused.returncode == 1
    assert "never.made" in refused.stderr
    assert "fewer brokers than copies are wanted; give --replication 1" in refused.stderr
