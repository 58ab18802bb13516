"""A consumer that stands still without saying so is found; one with a reason is left alone."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import Settings
from support.collector import send
from support.faulty_clients import HANGS, MUTE, MutableClient
from support.gaps import Transactions
from support.kafka import ApacheKafka
from support.workers import open_lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from sluicegate.pipeline.records import Delivery
    from support.workers import Lane

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

STALL_S = 2.0
LOOK_S = 0.2
ONE = [{"id": "one", "text": "a post"}]


class Running:
    """A source in this process, with what watches it."""

    def __init__(
        self, lane: Lane, consume: Callable[[Running, AsyncIterator[Sequence[Delivery]]], Awaitable[None]]
    ) -> None:
        self.lane = lane
        self.instruments = Instruments.for_engine(1)
        self.window = Window(posts=5, size_bytes=10_000, clock=self.instruments.clock.monotonic)
        self.took = 0
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": lane.bootstrap, "group": lane.group, "session_timeout_s": 30},
                "topics": {"posts": lane.posts},
            }
        )
        self.source = Source(
            settings,
            window=self.window,
            instruments=self.instruments,
            consume=lambda deliveries: consume(self, deliveries),
            drain=self._drain,
            look_every_s=LOOK_S,
            make_client=MutableClient,
        )

    async def _drain(self) -> None:
        self.window.close()
        self.window.release()

    async def send(self, count: int = 1) -> None:
        rows: list[dict[str, Any] | bytes | None] = [
            {"id": f"post-{number}", "text": f"post {number}"} for number in range(count)
        ]
        await asyncio.to_thread(send, self.lane.bootstrap, self.lane.posts, rows)

    async def until(self, what: str, ready: Callable[[], Any], *, within_s: float = 30.0) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not ready():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(
                f"not within {within_s:g} s: {what}; stalled {self.source.stalled}"
            ) from None

    async def never_stalls(self) -> None:
        for _ in range(int(2 * STALL_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            assert self.source.stalled == []


@asynccontextmanager
async def running(
    lane: Lane,
    monkeypatch: pytest.MonkeyPatch,
    consume: Callable[[Running, AsyncIterator[Sequence[Delivery]]], Awaitable[None]],
) -> AsyncIterator[Running]:
    monkeypatch.setattr(Settings, "stall_after_s", STALL_S)
    found = Running(lane, consume)
    MUTE.clear()
    stop = asyncio.Event()
    run = asyncio.create_task(found.source.run(stop))
    try:
        await found.until("joined", lambda: found.source.joined)
        yield found
    finally:
        stop.set()
        await asyncio.wait_for(run, 60)


async def each(chunks: AsyncIterator[Sequence[Delivery]]) -> AsyncIterator[Delivery]:
    async for chunk in chunks:
        for delivery in chunk:
            yield delivery


async def answer_all(self: Running, deliveries: AsyncIterator[Sequence[Delivery]]) -> None:
    async for delivery in each(deliveries):
        slots = await self.window.take(deque([delivery]))
        self.took += 1
        self.window.finish(slots)


async def test_a_fetch_that_died_is_found(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(lane, monkeypatch, answer_all) as found:
        await found.send(20)
        await found.until("all taken", lambda: found.took == 20)
        await found.never_stalls()
        MUTE.set()
        await found.never_stalls()  # nothing waits
        assert found.source.lag_s == 0
        await found.send(20)
        await found.until("stalled", lambda: found.source.stalled)
        assert found.source.lag_s > STALL_S / 2
        assert found.took == 20
        assert set(found.source.stalled) <= {f"{lane.posts}/{number}" for number in range(3)}


async def test_a_consumer_thread_that_hangs_is_found(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(lane, monkeypatch, answer_all) as found:
        HANGS.set()
        try:
            await found.until("stalled", lambda: found.source.stalled == ["consumer"])
        finally:
            HANGS.clear()
        await found.until("it goes on", lambda: found.source.stalled == [])


async def test_a_flow_that_takes_nothing_more_and_holds_nothing_is_found(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take_three(self: Running, deliveries: AsyncIterator[Sequence[Delivery]]) -> None:
        async for delivery in each(deliveries):
            slots = await self.window.take(deque([delivery]))
            assert len(slots) == 1
            self.window.finish(slots)
            self.took += 1
            if self.took == 3:
                await asyncio.Event().wait()

    async with running(lane, monkeypatch, take_three) as found:
        await found.send(20)
        await found.until("stalled", lambda: found.source.stalled)
        assert found.took == 3


async def test_a_full_window_is_a_reason_to_wait(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def take_and_hold(self: Running, deliveries: AsyncIterator[Sequence[Delivery]]) -> None:
        async for delivery in each(deliveries):
            await self.window.take(deque([delivery]))
            self.took += 1

    async with running(lane, monkeypatch, take_and_hold) as found:
        await found.send(20)
        await found.until("full", lambda: found.took == 5)
        await found.never_stalls()  # the window's own oldest post tells


async def test_a_declared_hold_is_a_reason_to_wait(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(lane, monkeypatch, answer_all) as found:
        MUTE.set()
        with found.instruments.holds.waiter("engine") as declare:
            declare("away")
            await found.send(5)
            await found.never_stalls()
        await found.until("stalled", lambda: found.source.stalled)


async def test_markers_aborted_records_and_an_open_transaction_are_no_stall(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(lane, monkeypatch, answer_all) as found:
        with Transactions(lane.bootstrap, lane.posts) as transactions:
            transactions.begin(ONE)
            transactions.abort()
            transactions.begin(ONE)
            await found.send(20)
            await found.never_stalls()
        await found.until("all taken", lambda: found.took == 20)
        await found.never_stalls()


async def test_brokers_that_are_away_are_a_hold_and_no_stall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Brokers of its own: what a thread started ends with that thread, and so with this test's loop.
    with ApacheKafka() as kafka, open_lane(kafka, tmp_path, partitions=3) as lane:
        async with running(lane, monkeypatch, answer_all) as found:
            await found.send(5)
            await found.until("all taken", lambda: found.took == 5)
            kafka.kill()
            try:
                await found.until("declared", lambda: "input" in found.instruments.holds.current)
                await found.never_stalls()
            finally:
                await asyncio.to_thread(kafka.restart)
            await found.until("cleared", lambda: not found.instruments.holds)
            await found.send(5)
            await found.until("all taken", lambda: found.took == 10)
            await found.never_stalls()
