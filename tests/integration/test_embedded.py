"""A worker end to end on the embedded broker: no Java, nothing to install."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from support.collector import account
from support.imports import imported, watch
from support.workers import Lane

if TYPE_CHECKING:
    from pathlib import Path


async def test_posts_become_verdicts_on_the_embedded_broker_without_a_heavy_import(tmp_path: Path) -> None:
    lane = Lane("", tmp_path)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        await asyncio.to_thread(_run, lane)


def _run(lane: Lane) -> None:
    try:
        worker = lane.start(environment=watch(lane.folder))
        worker.wait_ready()
        posts = [{"id": f"post-{number}", "text": f"post number {number}"} for number in range(300)]
        sent = lane.send([*posts, b"no post at all"])
        lane.wait_acknowledged(within_s=60)
        found = account(sent, lane.read())
        assert found.lost == ()
        assert (found.verdicts, found.dead_letters, found.unasked) == (300, 1, 0)
        worker.terminate()
        assert worker.wait(20) == 0

        asked_for = imported(lane.folder)
        assert {"faust", "confluent_kafka"} <= asked_for, "the watch saw nothing"
        assert asked_for.isdisjoint({"torch", "transformers", "tensorrt_llm", "xllamacpp", "gguf"})
    finally:
        lane.close()
