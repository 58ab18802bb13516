"""Commands that read a topic to its end also end where records keep coming."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOPICS = TopicSettings()
MOST_S = 20.0
EVERY_S = 0.01
READS = {
    "dead letters": (TOPICS.dead_letter, ("deadletter", "list")),
    "verdicts": (TOPICS.allow, ("verdicts", "--from", "beginning", "--no-follow", "--format", "json")),
    "control": (TOPICS.control, ("breaker", "status")),
}


class Steady(threading.Thread):
    """Publishes a small record every 10 ms until told to stop, at most for ``MOST_S``."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2, "linger.ms": 0})
        self._topic = topic
        self.stopping = threading.Event()
        self.flowing = threading.Event()

    def run(self) -> None:
        ends_at = time.monotonic() + MOST_S
        while time.monotonic() < ends_at and not self.stopping.wait(EVERY_S):
            self._producer.produce(self._topic, b"none of ours", on_delivery=lambda *_: self.flowing.set())
            self._producer.poll(0)
        self._producer.flush(5)


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=[*TOPICS.outputs, TOPICS.control]) as started:
        yield started


@pytest.mark.parametrize("which", READS)
async def test_a_command_ends_while_records_keep_coming(broker: EmbeddedBroker, which: str) -> None:
    topic, arguments = READS[which]
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("SLUICEGATE_"))
    given = {"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": broker.address}
    steady = Steady(broker.address, topic)
    steady.start()
    try:
        assert await asyncio.to_thread(steady.flowing.wait, MOST_S)
        done = await asyncio.to_thread(CliRunner().invoke, command.app, arguments, env={**cleared, **given})
        assert done.exit_code == 0
        assert steady.is_alive(), "it ended only when nothing came any more"
    finally:
        steady.stopping.set()
        steady.join()
