"""A worker end to end on the embedded broker: no Java, nothing to install."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sluicegate.pipeline.embedded_broker import EmbeddedBroker
from support.collector import account
from support.workers import Lane

if TYPE_CHECKING:
    from pathlib import Path

# Stands before every other module of the worker; notes whose import anybody tries, present or not.
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if "." not in name:
            with open(os.environ["WATCH_FILE"], "a") as file:
                file.write(name + "\\n")

sys.meta_path.insert(0, Watch())
"""


async def test_posts_become_verdicts_on_the_embedded_broker(tmp_path: Path) -> None:
    lane = Lane("", tmp_path)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        await asyncio.to_thread(_run, lane)


def _run(lane: Lane) -> None:
    try:
        (lane.folder / "sitecustomize.py").write_text(WATCH)
        watched = lane.folder / "imports.txt"
        worker = lane.start(PYTHONPATH=str(lane.folder), WATCH_FILE=str(watched))
        worker.wait_ready()
        posts = [{"id": f"post-{number}", "text": f"post number {number}"} for number in range(300)]
        sent = lane.send([*posts, b"no post at all"])
        lane.wait_acknowledged(within_s=60)
        found = account(sent, lane.read())
        assert found.lost == ()
        assert (found.verdicts, found.dead_letters, found.unasked) == (300, 1, 0)
        worker.terminate()
        assert worker.wait(20) == 0

        imported = set(watched.read_text().split())
        assert {"faust", "confluent_kafka"} <= imported, "the watch saw nothing"
        assert imported.isdisjoint({"torch", "transformers", "tensorrt_llm", "xllamacpp"})
    finally:
        lane.close()
