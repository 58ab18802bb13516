"""A fault that ends the worker tells where it was, and not what it says: that may quote a post."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.pipeline.records import Delivery

MARK = "zymurgist"


async def test_what_faust_logs_of_a_fault_does_not_quote_it(caplog: pytest.LogCaptureFixture) -> None:
    async def consume(deliveries: AsyncIterator[Sequence[Delivery]]) -> None:
        async for _ in deliveries:
            raise ValueError(MARK)

    async def nothing() -> None:
        pass

    caplog.set_level("INFO")
    async with asyncio.timeout(90), EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.address})
        producer.produce("posts", b"any")
        assert producer.flush(20) == 0
        settings = Settings.model_validate({"kafka": {"bootstrap_servers": broker.address}})
        instruments = Instruments.for_engine(1)
        window = Window(posts=10, size_bytes=1000, clock=instruments.clock.monotonic)
        source = Source(settings, window=window, instruments=instruments, consume=consume, drain=nothing)
        with pytest.raises(ValueError, match=MARK):
            await source.run(asyncio.Event())
    assert "ValueError at test_silence_of_a_crash.py" in caplog.text
    assert [record.getMessage() for record in caplog.records if MARK in record.getMessage()] == []
