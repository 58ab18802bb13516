"""The embedded broker answers, and never outlives whoever started it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress

import pytest

from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.kafka.embedded import PARTITIONS, EmbeddedBroker
from support.collector import read, send

PARENT = """
import asyncio, json
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker

async def main():
    async with EmbeddedBroker() as broker:
        print(json.dumps({"address": broker.address, "pid": broker._process.pid}), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def _gone(pid: int) -> None:
    async with asyncio.timeout(20):
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await asyncio.sleep(0.02)


async def test_what_is_sent_can_be_read_back() -> None:
    async with EmbeddedBroker() as broker:
        sent = await asyncio.to_thread(
            send, broker.address, "posts", [{"id": str(number)} for number in range(20)]
        )
        found = await asyncio.to_thread(read, broker.address, ["posts"])
    assert len(sent) == 20
    assert {record.body["id"] for record in found} == {str(number) for number in range(20)}


async def test_the_topics_asked_for_exist_from_the_start() -> None:
    from confluent_kafka import Consumer  # noqa: PLC0415 - this test alone looks at metadata

    async with EmbeddedBroker(["posts", "verdicts.allow"]) as broker:
        client = Consumer({"bootstrap.servers": broker.address, "group.id": "looks"})
        topics = await asyncio.to_thread(client.list_topics, None, 10)
        client.close()
    assert {name: len(topic.partitions) for name, topic in topics.topics.items()} == {
        "posts": PARTITIONS,
        "verdicts.allow": PARTITIONS,
    }


async def test_leaving_the_context_ends_the_child() -> None:
    async with EmbeddedBroker() as broker:
        assert broker._process is not None
        pid = broker._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_child_dies_with_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        child = json.loads(await parent.stdout.readline())
        os.kill(child["pid"], 0)
    finally:
        parent.kill()
        await parent.wait()
    await _gone(child["pid"])


async def test_a_child_that_cannot_start_is_an_error_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StartError, match="did not start"):
        await EmbeddedBroker().__aenter__()
