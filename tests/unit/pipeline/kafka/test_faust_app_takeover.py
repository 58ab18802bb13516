"""A member that had no partition, and is given some: with Faust's own app, over a thread that only looks like one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from sluicegate.pipeline.kafka.faust_app import FaustApp, make_app
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMITTED, END, A_FETCH = 100, 600, 100
PARTITIONS = [TP("posts", number) for number in range(6)]


class Thread:
    """Fetches and seeks with the pauses that brokers cause; both go on side by side, as in the real one."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.progress = SimpleNamespace(cuts_at_fetch={})
        self.positions: dict[TP, int] = {}
        self.sought = 0

    def assignment(self) -> set[TP]:
        return set(self.positions)

    async def committable(self, _acknowledged: Any, _first: Any) -> dict[TP, int]:
        return {}

    def highwater(self, _partition: TP) -> int:
        return END

    async def getmany(self, wanted: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109 - Faust's own
        if not self.consumer.flow_active:
            await asyncio.sleep(timeout)
            return {}
        await asyncio.sleep(0.003)
        return {tp: self._fetch(tp) for tp in sorted(wanted or self.positions) if self.positions[tp] < END}

    def _fetch(self, tp: TP) -> list[Any]:
        first = self.positions[tp]
        self.positions[tp] = behind = min(first + A_FETCH, END)
        return [_record(tp, offset) for offset in range(first, behind)]

    async def seek_to_committed(self) -> dict[TP, int]:
        for tp in sorted(self.positions):
            self.sought += 1
            await asyncio.sleep(0.004)  # a question to the group's coordinator for each
            self.positions[tp] = COMMITTED
        return dict.fromkeys(self.positions, COMMITTED)


def _record(tp: TP, offset: int) -> Any:
    return SimpleNamespace(
        topic=tp.topic,
        partition=tp.partition,
        offset=offset,
        timestamp=1,
        timestamp_type=0,
        headers=(),
        key=b"k",
        value=b"v",
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=1,
    )


class Member:
    """One member of the group: Faust's app, its recovery and its loop of fetches, and a flow that takes all it gets."""

    def __init__(self) -> None:
        self.app: FaustApp = make_app(Settings())
        self.app.finalize()
        self.app.before_wait = _nothing
        self.app.position_reset = lambda *_: None
        self.app._fetcher.maybe_start = _nothing
        self.consumer = self.app.consumer
        self.consumer._thread.thread_loop.close()
        self.thread = self.consumer._thread = Thread(self.consumer)
        topic = self.app.topic("posts", key_serializer="raw", value_serializer="raw", value_type=bytes)
        self.channel = topic.clone_using_queue(self.app.FlowControlQueue(maxsize=4096, clear_on_resume=True))
        self.app.topics.add(self.channel)
        self.app.topics._subscription_done = None
        self.taken: dict[int, list[int]] = {}
        self._fetcher = SimpleNamespace(_stopped=asyncio.Event())

    async def begin(self) -> None:
        recovery = self.app.tables.recovery
        loops = (
            recovery._restart_recovery(recovery),
            self.consumer._drain_messages(self._fetcher),
            self._take(),
        )
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def end(self) -> None:
        self._fetcher._stopped.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def rebalance(self, generation: int, assigned: list[TP]) -> None:
        self.app.on_rebalance_start()
        await self.consumer.on_partitions_revoked(self.thread.assignment())
        self.thread.positions = dict.fromkeys(assigned, COMMITTED)
        self.app.consumer_generation_id = generation
        await self.consumer.on_partitions_assigned(set(assigned), generation)

    async def _take(self) -> None:
        while True:
            for event in await self.channel.queue.get_some(64):
                if self.consumer.track(event.message):
                    self.taken.setdefault(event.message.partition, []).append(event.message.offset)
                    self.consumer.ack(event.message)
            await asyncio.sleep(0.001)  # their decoding


async def _nothing(*_: Any) -> None:
    pass


@pytest.fixture
async def member(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    made = Member()
    slept = asyncio.sleep

    async def often(_seconds: float, **_: Any) -> None:
        await slept(
            0.002
        )  # who has nothing looks once a second whether that is so still: as if it were just then

    monkeypatch.setattr(made.consumer, "sleep", often)
    await made.begin()
    yield made
    await made.end()


async def all_taken(member: Member) -> None:
    async with asyncio.timeout(20):
        while any(END - 1 not in member.taken.get(one.partition, []) for one in PARTITIONS):
            await asyncio.sleep(0.01)


async def test_who_had_nothing_and_takes_over_misses_nothing(member: Member) -> None:
    await member.rebalance(1, [])
    async with asyncio.timeout(20):
        while not member.consumer.flow_active or not member.app.flow_control.is_active():
            await asyncio.sleep(0.01)
    await member.rebalance(2, PARTITIONS)
    await all_taken(member)
    for number, offsets in member.taken.items():
        assert sorted(set(offsets)) == list(range(COMMITTED, END)), number


async def test_a_rebalance_that_comes_while_the_last_one_still_seeks_is_not_read_into(member: Member) -> None:
    await member.rebalance(1, PARTITIONS)
    while not member.thread.sought:
        await asyncio.sleep(0)
    member.app.on_rebalance_start()
    await member.consumer.on_partitions_revoked(set(PARTITIONS))
    await asyncio.sleep(0.1)  # the seek of the last one has ended
    assert not member.consumer.flow_active
    assert not member.app.flow_control.is_active()
    member.app.consumer_generation_id = 2
    await member.consumer.on_partitions_assigned(set(PARTITIONS), 2)
    await all_taken(member)
    for number, offsets in member.taken.items():
        assert sorted(set(offsets)) == list(range(COMMITTED, END)), number


async def test_a_seek_that_a_rebalance_overtakes_resumes_nothing(member: Member) -> None:
    await member.rebalance(1, PARTITIONS)
    await all_taken(member)
    seeking = asyncio.create_task(member.consumer.perform_seek())
    await asyncio.sleep(0)
    await member.consumer.on_partitions_revoked(set(PARTITIONS))
    with pytest.raises(RebalanceAgain):
        await seeking
