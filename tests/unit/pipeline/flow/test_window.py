from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.flow.window import CHUNK, Window
from unit.pipeline.fakes import MemoryDelivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.pipeline.records import Delivery, Slot


async def hold(window: Window, delivery: MemoryDelivery) -> Slot:
    (slot,) = await take(window, delivery)
    return slot


def chunk(deliveries: Iterable[Delivery]) -> deque[Delivery]:
    return deque(deliveries)


async def take(window: Window, *deliveries: MemoryDelivery) -> list[Slot]:
    return await window.take(deque(deliveries))


class Now:
    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


def make(posts: int = 100, size_bytes: int = 10_000, clock: Now | None = None) -> Window:
    return Window(posts=posts, size_bytes=size_bytes, clock=clock or Now())


@given(order=st.permutations(range(8)), partitions=st.lists(st.integers(0, 2), min_size=8, max_size=8))
def test_acknowledges_in_offset_order_whatever_finishes_first(
    order: list[int], partitions: list[int]
) -> None:
    async def scenario() -> None:
        window = make()
        log: list[tuple[str, int]] = []
        deliveries = [
            MemoryDelivery(offset, partition=("posts", part), log=log)
            for offset, part in enumerate(partitions)
        ]
        slots = [await hold(window, delivery) for delivery in deliveries]
        finished: set[int] = set()
        for index in order:
            window.finish([slots[index]])
            finished.add(index)
            for part in range(3):
                mine = [offset for offset, where in enumerate(partitions) if where == part]
                done = [offset for what, offset in log if partitions[offset] == part]
                prefix = []
                for offset in mine:
                    if offset not in finished:
                        break
                    prefix.append(offset)
                assert done == prefix  # never past a held head, and nothing finished is kept back
        assert window.posts == 0
        assert window.size_bytes == 0

    asyncio.run(scenario())


async def test_a_full_window_makes_the_source_wait() -> None:
    window = make(posts=2)
    first = await hold(window, MemoryDelivery(0))
    await take(window, MemoryDelivery(1))
    third = asyncio.create_task(hold(window, MemoryDelivery(2)))
    await asyncio.sleep(0)
    assert not third.done()
    window.finish([first])
    assert (await third).delivery.offset == 2


async def test_bytes_bound_the_window_too() -> None:
    window = make(size_bytes=100)
    first = await hold(window, MemoryDelivery(0, b"x" * 60))
    second = asyncio.create_task(take(window, MemoryDelivery(1, b"x" * 60)))
    await asyncio.sleep(0)
    assert not second.done()
    window.finish([first])
    await second


async def test_a_record_beyond_the_byte_limit_enters_an_empty_window() -> None:
    window = make(size_bytes=10)
    assert len(await take(window, MemoryDelivery(0, b"x" * 1000))) == 1


async def test_a_stale_delivery_is_not_taken() -> None:
    delivery = MemoryDelivery(0, is_current=False)
    assert await take(make(), delivery) == []
    assert delivery.log == [("released", 0)]


async def test_what_became_stale_while_held_is_released_not_acknowledged() -> None:
    window, delivery = make(), MemoryDelivery(0)
    slot = await hold(window, delivery)
    delivery.is_current = False
    window.finish([slot])
    assert delivery.log == [("released", 0)]


async def test_closing_ends_a_waiting_take_without_acknowledging() -> None:
    window = make(posts=1)
    await take(window, MemoryDelivery(0))
    late = MemoryDelivery(1)
    waiting = asyncio.create_task(take(window, late))
    await asyncio.sleep(0)
    window.close()
    assert await waiting == []
    assert late.log == [("released", 1)]


async def test_a_closed_window_takes_again_once_reopened() -> None:
    window = make()
    doors = [window.is_open]
    window.close()
    doors.append(window.is_open)
    assert await take(window, MemoryDelivery(0)) == []
    window.reopen()
    doors.append(window.is_open)
    assert len(await take(window, MemoryDelivery(1))) == 1
    assert doors == [True, False, True]


async def test_releasing_gives_everything_back_and_ignores_late_finishes() -> None:
    window = make()
    log: list[tuple[str, int]] = []
    slots = [await hold(window, MemoryDelivery(offset, log=log)) for offset in range(3)]
    window.finish([slots[1]])  # finished, but behind a held head
    assert window.release() == 3
    window.finish([slots[0]])
    assert log == [("released", 0), ("released", 1), ("released", 2)]
    assert all(item.released for item in slots)
    assert window.posts == 0


async def test_drained_returns_when_the_last_post_is_finished() -> None:
    window = make()
    slots = [await hold(window, MemoryDelivery(offset)) for offset in range(2)]
    drained = asyncio.create_task(window.drained())
    window.finish([slots[0]])
    await asyncio.sleep(0)
    assert not drained.done()
    window.finish([slots[1]])
    await drained


@pytest.mark.parametrize(
    "fields", [{"headers": (("name", b"x" * 60),)}, {"headers": (("x" * 60, None),)}, {"key": b"x" * 60}]
)
async def test_keys_and_headers_count_as_bytes(fields: dict[str, Any]) -> None:
    window = make(size_bytes=100)
    first = await hold(window, MemoryDelivery(0, **fields))
    second = asyncio.create_task(take(window, MemoryDelivery(1, **fields)))
    await asyncio.sleep(0)
    assert not second.done()
    window.finish([first])
    await second


async def test_a_partition_behind_the_backlog_of_another_waits_its_turn_and_has_not_stalled() -> None:
    clock = Now()
    window = make(posts=1000, clock=clock)
    backlog = [await hold(window, MemoryDelivery(number)) for number in range(300)]
    last = await hold(window, MemoryDelivery(0, partition=("posts", 1)))
    for slot in backlog:
        clock.value += 1
        window.finish([slot])
        assert window.stalled(50) is None
    clock.value += 51
    assert window.stalled(50) == ("posts", 1)
    window.finish([last])
    assert window.stalled(50) is None


async def test_a_partition_without_progress_is_stalled_and_an_empty_one_is_not() -> None:
    clock = Now()
    window = make(clock=clock)
    slot = await hold(window, MemoryDelivery(0))
    moving = await hold(window, MemoryDelivery(0, partition=("posts", 1)))
    await take(window, MemoryDelivery(1, partition=("posts", 1)))
    clock.value = 100.0
    window.finish([moving])
    assert window.stalled(50) == ("posts", 0)
    assert {partition: head.offset for partition, head in window.heads().items()} == {
        ("posts", 0): 0,
        ("posts", 1): 1,
    }
    window.finish([slot])
    assert window.stalled(50) is None


async def test_a_long_post_of_which_parts_are_found_now_and_then_has_not_stalled() -> None:
    clock = Now()
    window = make(clock=clock)
    slot = await hold(window, MemoryDelivery(0))
    for _ in range(5):
        clock.value += 40
        assert window.stalled(50) is None
        slot.moved_at = clock.value
    clock.value += 51
    assert window.stalled(50) == ("posts", 0)


async def test_an_idle_partition_starts_its_progress_anew() -> None:
    clock = Now()
    window = make(clock=clock)
    window.finish([await hold(window, MemoryDelivery(0))])
    clock.value = 1000.0
    await take(window, MemoryDelivery(1))
    assert window.stalled(50) is None


async def test_of_a_chunk_as_much_is_taken_as_there_is_room_for_and_the_rest_waits_in_order() -> None:
    window = make(posts=3, size_bytes=100)
    waiting = chunk(MemoryDelivery(offset, b"x" * size) for offset, size in enumerate([30, 30, 50, 1, 1, 1]))
    first = await window.take(waiting)
    assert [slot.delivery.offset for slot in first] == [0, 1]  # a third would be too many bytes
    window.finish(first[:1])
    second = await window.take(waiting)
    assert [slot.delivery.offset for slot in second] == [2, 3]  # a fourth would be one post too many
    third = asyncio.create_task(window.take(waiting))
    await asyncio.sleep(0)
    assert not third.done()
    window.finish([*first[1:], *second])
    assert [slot.delivery.offset for slot in await third] == [4, 5]
    assert not waiting


async def test_what_waits_of_a_chunk_is_released_when_the_drain_begins() -> None:
    window, log = make(posts=1), list[tuple[str, int]]()
    waiting = chunk(MemoryDelivery(offset, log=log) for offset in range(3))
    assert len(await window.take(waiting)) == 1
    late = asyncio.create_task(window.take(waiting))
    await asyncio.sleep(0)
    window.close()
    assert await late == []
    assert log == [("released", 1), ("released", 2)]
    assert not waiting
    assert window.posts == 1


async def test_what_is_stale_of_a_chunk_is_released_and_the_rest_is_taken() -> None:
    log: list[tuple[str, int]] = []
    waiting = chunk(MemoryDelivery(offset, is_current=offset != 1, log=log) for offset in range(3))
    slots = await make().take(waiting)
    assert [slot.delivery.offset for slot in slots] == [0, 2]
    assert log == [("released", 1)]


async def test_a_chunk_that_is_long_in_posts_or_bytes_is_taken_in_pieces() -> None:
    window = make(posts=10_000, size_bytes=10**9)
    waiting = chunk(MemoryDelivery(offset, b"x") for offset in range(CHUNK + 10))
    assert [len(await window.take(waiting)), len(await window.take(waiting))] == [CHUNK, 10]
    waiting = chunk(MemoryDelivery(offset, b"x" * 200_000) for offset in range(5))
    assert [len(await window.take(waiting)) for _ in range(3)] == [2, 2, 1]


async def test_what_is_finished_together_is_acknowledged_in_the_order_of_each_partition() -> None:
    window, log = make(), list[tuple[str, int]]()
    slots = [
        await hold(window, MemoryDelivery(offset, partition=("posts", offset % 2), log=log))
        for offset in range(6)
    ]
    window.finish([slots[5], slots[2], slots[0], slots[3]])
    assert log == [("acknowledged", 0), ("acknowledged", 2)]  # 1 is the head of the others
    window.finish([slots[1]])
    assert log[2:] == [("acknowledged", 1), ("acknowledged", 3), ("acknowledged", 5)]
