from __future__ import annotations

import asyncio
import base64
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.pipeline.observe.holds import Holds
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.schemas import DeadLetter, Origin, ReasonCode, dead_letter_id
from support.collector import read

if TYPE_CHECKING:
    from support.kafka import ApacheKafka

pytestmark = pytest.mark.kafka


def record(topic: str, offset: int = 0, payload: bytes = b"x") -> Record:
    origin = Origin(topic="posts", partition=0, offset=offset)
    letter = DeadLetter(
        dead_letter_id=dead_letter_id(origin),
        code=ReasonCode.INVALID_JSON,
        detail="",
        origin=origin,
        payload=base64.b64encode(payload).decode(),
        payload_bytes=len(payload),
        payload_hash="sha256:" + "0" * 64,
        rejected_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Record(topic, b"key", letter, (("name", b"value"),))


def publisher(kafka: ApacheKafka, holds: Holds) -> Publisher:
    return Publisher(KafkaSettings(bootstrap_servers=kafka.bootstrap, delivery_timeout_s=3), holds, flush_s=5)


def make_holds() -> tuple[Holds, list[bool]]:
    seen: list[bool] = []
    return Holds(asyncio.get_running_loop().time, lambda _name, holding: seen.append(holding)), seen


async def test_publish_returns_once_the_broker_has_every_record(kafka: ApacheKafka) -> None:
    topic = f"out-{uuid4().hex}"
    kafka.create_topic(topic, 3)
    holds, seen = make_holds()
    async with publisher(kafka, holds) as sink:
        await sink.publish([record(topic, number) for number in range(500)])
        found = read(kafka.bootstrap, [topic])
    assert len({item.body["dead_letter_id"] for item in found}) == 500
    assert found[0].headers == {"name": b"value"}
    assert seen == []


async def test_a_missing_topic_is_a_hold_and_nothing_is_lost(kafka: ApacheKafka) -> None:
    present, missing = f"out-{uuid4().hex}", f"out-{uuid4().hex}"
    kafka.create_topic(present, 1)
    holds, seen = make_holds()
    async with publisher(kafka, holds) as sink:
        stuck = asyncio.create_task(sink.publish([record(missing, 1), record(present, 2)]))
        async with asyncio.timeout(60):
            while not holds:
                await asyncio.sleep(0.05)
        assert missing in holds.current["publish"].reason
        await sink.publish([record(present, 3)])  # another's success says nothing of the missing topic
        assert holds
        kafka.create_topic(missing, 1)
        async with asyncio.timeout(60):
            await stuck
    assert not holds
    assert seen == [True, False]
    assert [item.body["origin"]["offset"] for item in read(kafka.bootstrap, [missing])] == [1]
    assert sorted(item.body["origin"]["offset"] for item in read(kafka.bootstrap, [present])) == [2, 3]


async def test_a_record_too_large_for_its_topic_is_cut_and_keeps_hash_and_origin(kafka: ApacheKafka) -> None:
    topic = f"out-{uuid4().hex}"
    kafka.create_topic(topic, 1, config={"max.message.bytes": "2000"})
    holds, seen = make_holds()
    async with publisher(kafka, holds) as sink, asyncio.timeout(60):
        # Random bytes: lz4 must not make the record fit.
        await sink.publish([record(topic, 1, os.urandom(60_000)), record(topic, 2)])
    small, cut = sorted(read(kafka.bootstrap, [topic]), key=lambda item: -item.body["origin"]["offset"])
    assert small.body["truncated"] is False
    assert cut.body["truncated"] is True
    assert cut.body["payload_bytes"] == 60_000
    assert cut.body["origin"]["offset"] == 1
    assert seen == []  # a cut is no hold


async def test_a_cancelled_publish_leaves_no_hold_behind(kafka: ApacheKafka) -> None:
    holds, seen = make_holds()
    async with publisher(kafka, holds) as sink:
        stuck = asyncio.create_task(sink.publish([record(f"out-{uuid4().hex}")]))
        async with asyncio.timeout(60):
            while not holds:
                await asyncio.sleep(0.05)
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
    assert seen == [True, False]
