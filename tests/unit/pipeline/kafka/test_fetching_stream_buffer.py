from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mode.utils.queues import FlowControlEvent

from sluicegate.pipeline.kafka.fetching import StreamBuffer

RECORDS, BYTES = 100, 1000


def event(size_bytes: int) -> Any:
    message = SimpleNamespace(key=b"key", value=b"x" * (size_bytes - 8), headers=[("name", b"v"), ("", None)])
    return SimpleNamespace(message=message)


class Partition:
    """What Faust's conductor does with one partition's records."""

    def __init__(self, buffer: StreamBuffer) -> None:
        self.buffer = buffer
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def put(self, size_bytes: int) -> None:
        self.buffer.put_nowait_enhanced(
            event(size_bytes), on_pressure_high=self.pause, on_pressure_drop=self.resume
        )


@pytest.fixture
async def buffer() -> StreamBuffer:
    flow = FlowControlEvent(initially_suspended=False)
    return StreamBuffer(maxsize=RECORDS, flow_control=flow, clear_on_resume=True, most_bytes=BYTES)


async def test_many_small_records_pause_their_partition_by_count_as_in_faust(buffer: StreamBuffer) -> None:
    partition = Partition(buffer)
    for _ in range(81):
        assert not partition.paused
        partition.put(10)
    assert partition.paused


async def test_a_few_large_records_pause_every_partition_with_its_next_one(buffer: StreamBuffer) -> None:
    first, second = Partition(buffer), Partition(buffer)
    for _ in range(4):
        first.put(250)
    assert (first.paused, second.paused) == (False, False)
    first.put(250)
    assert (first.paused, second.paused) == (True, False)
    second.put(10)
    assert (first.paused, second.paused) == (True, True)


async def test_paused_partitions_go_on_one_by_one_once_few_bytes_are_left(buffer: StreamBuffer) -> None:
    partitions = [Partition(buffer), Partition(buffer)]
    for _ in range(3):
        for partition in partitions:
            partition.put(250)
    assert all(partition.paused for partition in partitions)
    left = []
    while buffer.qsize():
        await buffer.get()
        left.append((buffer.size_bytes, sum(partition.paused for partition in partitions)))
    # Looked at before each record leaves: 400 bytes are the drop.
    assert left == [(1250, 2), (1000, 2), (750, 2), (500, 2), (250, 2), (0, 1)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await buffer.get()
    assert not any(partition.paused for partition in partitions)


async def test_one_record_above_the_bound_is_let_through(buffer: StreamBuffer) -> None:
    partition = Partition(buffer)
    partition.put(5000)
    partition.put(10)
    assert partition.paused
    assert len((await buffer.get()).message.value) == 4992
    await buffer.get()
    assert not partition.paused


async def test_what_a_rebalance_clears_is_no_longer_counted(buffer: StreamBuffer) -> None:
    partition = Partition(buffer)
    for _ in range(5):
        partition.put(250)
    buffer.clear()
    assert buffer.size_bytes == 0
    assert buffer.qsize() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await buffer.get()
    assert not partition.paused


async def test_it_is_never_full_so_nobody_who_fetched_has_to_wait(buffer: StreamBuffer) -> None:
    partition = Partition(buffer)
    for _ in range(2 * RECORDS):
        partition.put(10)
    assert buffer.qsize() == 2 * RECORDS
    assert not buffer.full()
    assert partition.paused


async def test_what_stands_there_is_taken_together_in_order(buffer: StreamBuffer) -> None:
    partition = Partition(buffer)
    for size_bytes in (10, 20, 30, 40, 50):
        partition.put(size_bytes)
    taken = [await buffer.get_some(2), await buffer.get_some(10)]
    assert [[len(one.message.value) + 8 for one in some] for some in taken] == [[10, 20], [30, 40, 50]]
    assert buffer.size_bytes == 0


async def test_of_long_records_few_come_together(
    buffer: StreamBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.pipeline.kafka.fetching._TOGETHER_BYTES", 50)
    partition = Partition(buffer)
    for size_bytes in (100, 10, 20, 30, 40):
        partition.put(size_bytes)
    taken = [await buffer.get_some(10) for _ in range(2)]
    assert [[len(one.message.value) + 8 for one in some] for some in taken] == [[100, 10, 20, 30], [40]]


async def test_an_empty_buffer_is_waited_for(buffer: StreamBuffer) -> None:
    taking = asyncio.create_task(buffer.get_some(10))
    await asyncio.sleep(0)
    assert not taking.done()
    Partition(buffer).put(10)
    assert len(await taking) == 1
