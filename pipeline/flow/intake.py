"""The first two steps of a post's path, wherever its answer comes from: take, then decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.records import Delivery, Slot
from sluicegate.schemas import Post, Rejection, decode_post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Intake:
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
