"""``sluicegate deadletter``: list, show, export and replay, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner, Result

from sluicegate.pipeline import command
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import DeadLetter, Origin, dead_letter_id, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.workers import Lane

TOPICS = TopicSettings()
HOSTILE = b'{"id": "a", "text": "\x1b[2Jgone \xe2\x80\xae"'


def run(bootstrap: str, *arguments: str, **variables: str) -> Result:
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("SLUICEGATE_"))
    settings = {"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": bootstrap, **variables}
    return CliRunner().invoke(command.app, ["deadletter", *arguments], env={**cleared, **settings})


def letter(offset: int, payload: bytes = HOSTILE, **changes: Any) -> DeadLetter:
    origin = Origin(topic=TOPICS.posts, partition=1, offset=offset)
    fields = {
        "dead_letter_id": dead_letter_id(origin),
        "code": "invalid_json",
        "detail": "not JSON at character 22",
        "origin": origin,
        "key": base64.b64encode(b"key\x1b").decode(),
        "headers": [("traceparent", base64.b64encode(b"00-1").decode()), ("empty", ""), ("none", None)],
        "payload": base64.b64encode(payload).decode(),
        "payload_bytes": len(payload),
        "payload_hash": f"sha256:{hashlib.sha256(payload).hexdigest()}",
        "rejected_at": f"2026-03-{offset + 1:02}T08:00:00Z",
    }
    return DeadLetter.model_validate(fields | changes)


WHOLE, OTHER = letter(0), letter(1, b"{}", code="invalid_post")
CUT = letter(2, payload_bytes=300_000, truncated=True, code="oversize")


def publish(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
    for value in values:
        producer.produce(topic, value, partition=0)  # their order counts
    assert producer.flush(20) == 0


def records(bootstrap: str, topic: str) -> list[Any]:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "log_level": 2})
    found: list[Any] = []
    try:
        for number in reader.list_topics(timeout=20).topics[topic].partitions:
            _, high = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            reader.assign([TopicPartition(topic, number, 0)])
            found += reader.consume(high, timeout=20) if high else []
    finally:
        reader.close()
    return found


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=list(TOPICS.model_dump().values())) as started:
        copies = [WHOLE, OTHER, CUT, WHOLE]
        await asyncio.to_thread(publish, started.address, TOPICS.dead_letter, [*map(encode, copies), b"junk"])
        yield started


async def call(broker: EmbeddedBroker, *arguments: str) -> Result:
    return await asyncio.to_thread(run, broker.address, *arguments)


async def test_each_dead_letter_is_one_line_without_what_its_producer_wrote(broker: EmbeddedBroker) -> None:
    listed = await call(broker, "list")
    assert listed.exit_code == 0, listed.stderr
    assert [
        one.dead_letter_id in text
        for one, text in zip((WHOLE, OTHER, CUT), listed.stdout.splitlines(), strict=True)
    ] == [True] * 3
    assert "gone" not in listed.stdout
    assert "1 records are no dead letters" in listed.stderr
    as_json = await call(broker, "list", "--json", "--limit", "1")
    (document,) = map(json.loads, as_json.stdout.splitlines())
    assert document["dead_letter_id"] == WHOLE.dead_letter_id
    assert not document.keys() & {"payload", "key", "headers"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--code", "oversize", "--code", "invalid_post"], [OTHER, CUT]),
        (["--since", "2026-03-02T09:00:00+01:00", "--until", "2026-03-03T08:00:00"], [OTHER]),
        (["--topic", "posts", "--partition", "0"], []),
    ],
)
async def test_a_filter_leaves_the_others_out(
    broker: EmbeddedBroker, filters: list[str], expected: list[DeadLetter]
) -> None:
    listed = await call(broker, "list", "--json", *filters)
    assert [json.loads(one)["dead_letter_id"] for one in listed.stdout.splitlines()] == [
        one.dead_letter_id for one in expected
    ]


async def test_a_text_is_shown_only_when_asked_for_and_then_inert(broker: EmbeddedBroker) -> None:
    for form in ((), ("--json",)):
        hidden = await call(broker, "show", WHOLE.dead_letter_id, *form)
        assert hidden.exit_code == 0, hidden.stderr
        assert WHOLE.payload_hash in hidden.stdout
        assert not any(one in hidden.stdout for one in ("gone", "00-1", WHOLE.payload))
    shown = await call(broker, "show", WHOLE.dead_letter_id, "--show-text")
    assert "\\x1b[2Jgone \\u202e" in shown.stdout
    assert "\x1b" not in shown.stdout
    absent = await call(broker, "show", "no such\x1b id")
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert absent.stderr.endswith("no dead letter no such\\x1b id\n")


async def test_an_export_holds_every_dead_letter_whole_and_replaces_no_file(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    file = tmp_path / "letters.jsonl"
    assert (await call(broker, "export", str(file))).stdout == f"3 dead letters written to {file}\n"
    kept = file.read_bytes()
    assert [DeadLetter.model_validate_json(one) for one in kept.splitlines()] == [WHOLE, OTHER, CUT]
    assert file.stat().st_mode & 0o777 == 0o600
    again = await call(broker, "export", str(file), "--code", "oversize")
    assert again.exit_code == 2
    assert file.read_bytes() == kept


async def test_a_replay_sends_the_original_record_once_and_refuses_what_was_truncated(
    broker: EmbeddedBroker,
) -> None:
    planned = await call(broker, "replay", "--all", "--dry-run")
    assert "2 would be replayed, 1 refused" in planned.stdout
    assert await asyncio.to_thread(records, broker.address, TOPICS.posts) == []
    first = await call(broker, "replay", "--all", "--json")
    assert first.exit_code == 1, first.stderr
    did = {one["dead_letter_id"]: one for one in map(json.loads, first.stdout.splitlines())}
    assert {name: one["did"] for name, one in did.items()} == {
        WHOLE.dead_letter_id: "replayed",
        OTHER.dead_letter_id: "replayed",
        CUT.dead_letter_id: "refused",
    }
    assert "300000 payload bytes" in did[CUT.dead_letter_id]["detail"]
    sent, _ = await asyncio.to_thread(records, broker.address, TOPICS.posts)
    assert (sent.value(), sent.key(), sent.partition()) == (HOSTILE, b"key\x1b", 1)
    assert sent.headers() == [
        ("traceparent", b"00-1"),
        ("empty", b""),
        ("none", None),
        ("sluicegate-replayed-from", WHOLE.dead_letter_id.encode()),
        ("sluicegate-tries", b"2"),
        ("sluicegate-first-rejected", b"2026-03-01T08:00:00+00:00"),
    ]
    second = await call(broker, "replay", WHOLE.dead_letter_id, OTHER.dead_letter_id)
    assert second.exit_code == 0, second.stderr
    assert second.stdout.splitlines()[-1] == "2 already replayed"
    assert len(await asyncio.to_thread(records, broker.address, TOPICS.posts)) == 2
    elsewhere = await call(broker, "replay", WHOLE.dead_letter_id, "--again", "--to", TOPICS.allow + "x")
    assert "topic verdicts.allowx does not exist" in elsewhere.stdout
    again = await call(broker, "replay", WHOLE.dead_letter_id, "--again")
    assert again.stdout.splitlines()[-1] == "1 replayed"
    assert len(await asyncio.to_thread(records, broker.address, TOPICS.posts)) == 3


async def test_a_replay_says_what_is_missing_or_makes_no_sense(broker: EmbeddedBroker) -> None:
    assert (await call(broker, "replay")).exit_code == 2
    assert (await call(broker, "replay", "--all", "--to", TOPICS.dead_letter)).exit_code == 2
    absent = await call(broker, "replay", "nobody")
    assert (absent.exit_code, absent.stdout) == (1, "nothing to replay\n")
    assert absent.stderr.endswith("no dead letter nobody\n")
    assert await asyncio.to_thread(records, broker.address, TOPICS.posts) == []


@pytest.mark.kafka
def test_what_a_worker_rejects_again_counts_its_tries(lane: Lane) -> None:
    worker = lane.start()
    worker.wait_ready()
    lane.send([b"{bad", {"id": "a", "text": "good"}])
    lane.wait_answers(2, within_s=30)
    names = {
        "SLUICEGATE_TOPICS__POSTS": lane.posts,
        "SLUICEGATE_TOPICS__CONTROL": f"{lane.prefix}.control",
        **{f"SLUICEGATE_TOPICS__{name.upper()}": topic for name, topic in lane.outputs.items()},
    }
    first = [DeadLetter.model_validate(one.body) for one in lane.read() if one.is_dead_letter]
    replay = ("replay", first[0].dead_letter_id)
    done = run(lane.bootstrap, *replay, **names)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "1 replayed"
    lane.wait_answers(3, within_s=30)
    letters = [DeadLetter.model_validate(one.body) for one in lane.read() if one.is_dead_letter]
    assert [one.tries for one in letters] == [1, 2]
    assert letters[0] == first[0]
    assert [one.first_rejected_at for one in letters] == [first[0].rejected_at] * 2
    assert letters[0].rejected_at < letters[1].rejected_at
    assert letters[0].dead_letter_id != letters[1].dead_letter_id
    assert [base64.b64decode(one.payload) for one in letters] == [b"{bad"] * 2
    again = run(lane.bootstrap, *replay, **names)
    assert again.stdout.splitlines()[-1] == "1 already replayed"
    assert lane.answers() == 3
