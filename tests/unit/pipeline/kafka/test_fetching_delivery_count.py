"""How records come from Faust's fetches to the flow, past its tasks and its stream."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mode.utils.queues import FlowControlEvent

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka import faust_app as source_faust
from sluicegate.pipeline.kafka.faust_app import _Consumer
from sluicegate.pipeline.kafka.fetching import DeliveryCount, StreamBuffer
from sluicegate.pipeline.kafka.source import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE, THERE = ("posts", 0), ("posts", 1)


class Fetched:
    """The parts of a consumer that the hand-over works with."""

    consumer_stopped_errors: tuple[type[Exception], ...] = (KeyError,)

    def __init__(self, *fetches: list[int] | Exception) -> None:
        self._stopped = asyncio.Event()
        self._buffered_partitions: set[str] = set()
        self.fetches = list(fetches)
        self.handed: list[int] = []
        self.waited_s: list[float] = []
        self.active = {"posts/0"}
        self.app = SimpleNamespace(should_stop=False)

    def _get_active_partitions(self) -> set[str]:
        return self.active

    async def callback(self, message: int) -> None:
        self.handed.append(message)

    async def getmany(self, **asked: float) -> AsyncIterator[tuple[str, int]]:
        self.waited_s.append(asked["timeout"])
        fetch = self.fetches.pop(0)
        if not self.fetches:
            self._stopped.set()
        if isinstance(fetch, Exception):
            raise fetch
        for message in fetch:
            yield "posts/0", message

    async def drain(self, *, stopped: bool = False) -> None:
        fetcher: Any = SimpleNamespace(_stopped=asyncio.Event())
        if stopped:
            fetcher._stopped.set()
        delivery_count: Any = _Consumer._drain_messages
        async with asyncio.timeout(10):
            await delivery_count(self, fetcher)


async def test_every_fetch_is_handed_over_in_order() -> None:
    consumer = Fetched([1, 2], [], [3])
    await consumer.drain()
    assert consumer.handed == [1, 2, 3]
    assert consumer.waited_s == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("loop_alone", [True, False])
async def test_nothing_is_fetched_once_the_consumer_or_its_loop_of_fetches_is_stopped(
    loop_alone: bool,
) -> None:
    consumer = Fetched([1])
    if not loop_alone:
        consumer._stopped.set()
    await consumer.drain(stopped=loop_alone)
    assert consumer.handed == []


async def test_a_long_fetch_gives_others_a_turn() -> None:
    consumer = Fetched(list(range(1000)))
    seen: list[int] = []

    async def other() -> None:
        while len(consumer.handed) < 1000:
            seen.append(len(consumer.handed))
            await asyncio.sleep(0)

    await asyncio.gather(consumer.drain(), other())
    steps = [after - before for before, after in zip(seen, [*seen[1:], 1000], strict=True)]
    assert max(steps) <= source_faust._AT_ONCE


async def test_nothing_is_fetched_while_every_partition_is_paused() -> None:
    consumer = Fetched([1], [2])
    consumer.active, consumer._buffered_partitions = set(), {"posts/0"}
    draining = asyncio.create_task(consumer.drain())
    await asyncio.sleep(3 * source_faust._LOOK_FOR_ROOM_S)
    assert consumer.waited_s == []
    consumer.active = {"posts/0"}
    await draining
    assert consumer.handed == [1, 2]


async def test_a_partition_without_records_does_not_keep_a_paused_one_waiting() -> None:
    consumer = Fetched([1])
    consumer._buffered_partitions = {"posts/1"}
    await consumer.drain()
    assert consumer.waited_s == [source_faust._LOOK_FOR_ROOM_S]


@pytest.mark.parametrize("stopping", [True, False])
async def test_a_consumer_that_was_stopped_is_a_fault_unless_all_stop(stopping: bool) -> None:
    consumer = Fetched(KeyError("stopped"))
    consumer.app.should_stop = stopping
    if stopping:
        await consumer.drain()
        return
    with pytest.raises(KeyError):
        await consumer.drain()


@pytest.mark.parametrize(
    ("active", "generation", "taken"), [(True, 3, True), (True, 2, False), (False, 3, False)]
)
def test_what_was_fetched_before_a_rebalance_or_in_one_is_not_taken(
    active: bool, generation: int, taken: bool
) -> None:
    flow = SimpleNamespace(is_active=lambda: active)
    app = SimpleNamespace(flow_control=flow, consumer_generation_id=3)
    noted: list[Any] = []
    given = DeliveryCount()
    unacknowledged = SimpleNamespace(add=noted.append)
    consumer: Any = SimpleNamespace(app=app, delivery_count=given, _unacked_messages=unacknowledged)
    number = given.give(("posts", 0), 7)
    message = SimpleNamespace(topic="posts", partition=0, generation_id=generation, number=number)
    assert _Consumer.track(consumer, message) is taken
    assert noted == ([message] if taken else [])


def test_of_what_was_given_nothing_may_be_missing_when_it_is_taken() -> None:
    given = DeliveryCount()
    first, other, second, again = (
        given.give(*one)
        for one in [(HERE, 5), (THERE, 0), (HERE, 9), (HERE, 5)]  # a gap, and a seek back
    )
    given.take(HERE, first)
    given.take(THERE, other)
    with pytest.raises(ClusterError, match=r"^1 records of posts/0 were fetched and dropped"):
        given.take(HERE, again)
    given.take(HERE, second)
    given.take(HERE, again)
    assert given.reached == {HERE: 6, THERE: 1}


def test_another_assignment_begins_another_account() -> None:
    given = DeliveryCount()
    given.give(HERE, 5)
    given.begin()
    assert given.reached == {}
    given.take(HERE, given.give(HERE, 5))


async def test_deliveries_end_where_faust_ends_the_stream() -> None:
    flow = FlowControlEvent(initially_suspended=False)
    buffer = StreamBuffer(maxsize=10, flow_control=flow, clear_on_resume=True, most_bytes=1000)
    source: Any = SimpleNamespace()

    async def take_all() -> list[Any]:
        return [one async for one in Source._deliveries(source, buffer)]

    taking = asyncio.create_task(take_all())
    await asyncio.sleep(0)
    await buffer.throw(StopAsyncIteration())
    async with asyncio.timeout(10):
        assert await taking == []
