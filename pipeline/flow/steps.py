"""The steps that every flow shares: take and decode at its start, publish and acknowledge at its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from sluicegate.pipeline.flow.answers import Answer
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.records import Delivery, Forwarded, InWindow, Outlet, Slot
from sluicegate.schemas import DeadLetter, Post, Rejection, Verdict, decode_post

if TYPE_CHECKING:
    from asyncio import Queue
    from collections.abc import AsyncIterator, Sequence


class TakeAndDecode:
    """One per flow; one event loop.

    Args:
        window: Holds what is taken.
        limit_bytes: Of a post.
        instruments: What watches.
    """

    def __init__(self, window: Window, limit_bytes: int, instruments: Instruments) -> None:
        self._window = window
        self._limit_bytes = limit_bytes
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing

    async def posts(self, source: AsyncIterator[Delivery]) -> AsyncIterator[tuple[Slot, Post | Rejection]]:
        """What the window has room for, with its post, or why it is none. Tombstones end here.

        May be cancelled: what is taken then stays unacknowledged.
        """
        async for delivery in self._tracing.posts(source):
            with self._tracing.step("take", delivery):
                slot = await self._window.take(delivery)  # 1
            if slot is None:
                continue
            self._metrics.taken.inc()
            if delivery.value is None:
                self._metrics.tombstones.inc()
                self._window.finish(slot)
                continue
            with self._tracing.step("decode", delivery):
                post = decode_post(delivery.value, limit_bytes=self._limit_bytes)  # 2
            yield slot, post


# Enough to amortise the trip, little enough to wait for. The first of 256 posts of 256 KiB, all digits, would wait
# for minutes for the last, and pass for stalled.
CHUNK, _CHUNK_BYTES = 256, 262_144


T = TypeVar("T", bound=InWindow)


async def next_chunk(queue: Queue[T]) -> list[T]:
    """The first that comes, and what stands behind it, bounded by posts and bytes."""
    chunk = [await queue.get()]
    size_bytes = chunk[0].slot.size_bytes
    while len(chunk) < CHUNK and size_bytes < _CHUNK_BYTES and not queue.empty():
        chunk.append(queue.get_nowait())
        size_bytes += chunk[-1].slot.size_bytes
    return chunk


class PublishAndAcknowledge:
    """One per flow; one event loop.

    Args:
        window: Holds the posts; finished here.
        outlet: Where records go.
        instruments: What watches.
    """

    def __init__(self, window: Window, outlet: Outlet, instruments: Instruments) -> None:
        self._window = window
        self._outlet = outlet
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing
        self._delivering: set[asyncio.Future[None]] = set()

    async def publish(self, answered: Sequence[Answer]) -> None:
        """8 and 9: deliver, then acknowledge. Cancelled where all is given back meanwhile."""
        if not answered:
            return
        with self._tracing.publish(answered) as records:
            delivering = asyncio.ensure_future(self._outlet.publish(records))  # 8
            self._delivering.add(delivering)
            delivering.add_done_callback(self._delivering.discard)
            await delivering
        self._count(answered)
        for answer in answered:
            self._window.finish(answer.slot)  # 9

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        for delivering in self._delivering:
            delivering.cancel()  # and with it the task that waits for it
        return self._window.release()

    def _count(self, answered: Sequence[Answer]) -> None:
        delivered: list[tuple[Verdict | DeadLetter, int | None]] = []
        for answer in answered:
            record = answer.record
            if isinstance(record, Forwarded):
                self._metrics.forwarded.labels(str(record.sampled).lower()).inc()
            else:
                delivered.append((record.event, answer.slot.delivery.timestamp_ms))
        self._metrics.count(delivered, now_ms=self._clock.utc().timestamp() * 1000)
