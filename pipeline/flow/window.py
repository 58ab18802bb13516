"""The window: the bounded set of posts between the take and the acknowledgement.

Two duties. It is the back-pressure: a full window makes the source wait. And it keeps
acknowledgements in offset order per partition though posts finish out of order, because
the consumer below commits past a held head (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from sluicegate.pipeline.records import Delivery, Partition, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Enough to amortise the trip, little enough to wait for. The first of 256 posts of 256 KiB, all digits, would wait
# for minutes for the last, and pass for stalled.
CHUNK, CHUNK_BYTES = 256, 262_144


class Window:
    """Bounded by posts and bytes; one taker, many finishers, one event loop."""

    def __init__(self, *, posts: int, size_bytes: int, clock: Callable[[], float]) -> None:
        self._limit_posts = posts
        self._limit_bytes = size_bytes
        self._clock = clock
        self._rows: dict[Partition, deque[Slot]] = {}
        self._oldest: Slot | None = None
        self._oldest_since = 0.0
        self._posts = 0
        self._bytes = 0
        self._open = True
        self._changed = asyncio.Event()

    @property
    def posts(self) -> int:
        """Posts held."""
        return self._posts

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        return self._bytes

    @property
    def is_open(self) -> bool:
        """False while draining."""
        return self._open

    async def take(self, waiting: deque[Delivery]) -> list[Slot]:
        """Hold the first of these deliveries, as many as there is room for and one chunk may have; wait for room for one.

        What is held is taken out of ``waiting``. A record larger than the whole byte limit is let into an
        empty window, so that it can be answered at all. Those whose partition was revoked meanwhile are
        released, and all of them if the window is draining. May be cancelled: what waits then stays unacknowledged.
        """
        while self._open and waiting and not self._has_room(_size_bytes(waiting[0])):
            self._changed.clear()
            await self._changed.wait()
        taken: list[Slot] = []
        taken_bytes, now = 0, self._clock()
        while waiting:
            delivery = waiting[0]
            if not self._open or not delivery.is_current:
                waiting.popleft().release()
                continue
            size = _size_bytes(delivery)
            whole = len(taken) >= CHUNK or taken_bytes >= CHUNK_BYTES
            if whole or not self._has_room(size):
                break
            waiting.popleft()
            slot = Slot(delivery, size, now)
            taken.append(slot)
            taken_bytes += size
            self._rows.setdefault(delivery.partition, deque()).append(slot)
            if self._oldest is None:
                self._oldest, self._oldest_since = slot, now
            self._posts += 1
            self._bytes += size
        return taken

    def _has_room(self, size_bytes: int) -> bool:
        within = self._posts < self._limit_posts and self._bytes + size_bytes <= self._limit_bytes
        return within or not self._posts

    def finish(self, slots: Iterable[Slot]) -> None:
        """Mark posts as answered, and acknowledge the finished prefix of their partitions, in offset order."""
        partitions: dict[Partition, None] = {}
        for slot in slots:
            if not slot.released:
                slot.finished = True
                partitions[slot.delivery.partition] = None
        for partition in partitions:
            row = self._rows[partition]
            while row and row[0].finished:
                head = row.popleft()
                self._posts -= 1
                self._bytes -= head.size_bytes
                if head.delivery.is_current:
                    head.delivery.acknowledge()
                else:
                    head.delivery.release()
        if self._oldest is not None and self._oldest.finished:
            heads = [row[0] for row in self._rows.values() if row]
            self._oldest = min(heads, key=lambda one: one.taken_at, default=None)
            self._oldest_since = self._clock()
        self._changed.set()

    def close(self) -> None:
        """Begin to drain: nothing is taken any more; a waiting take gives up."""
        self._open = False
        self._changed.set()

    def reopen(self) -> None:
        """Take again, after a rebalance. Nobody waits for it: a take that waited has given up."""
        self._open = True

    async def drained(self) -> None:
        """Return once nothing is held. May be cancelled."""
        while self._posts:
            self._changed.clear()
            await self._changed.wait()

    def release(self) -> int:
        """Give back everything held, unacknowledged, and say how many posts that were."""
        given_back = 0
        for row in self._rows.values():
            for slot in row:
                slot.released = True
                slot.delivery.release()
                given_back += 1
        self._rows.clear()
        self._oldest = None
        self._posts = self._bytes = 0
        self._changed.set()
        return given_back

    def heads(self) -> dict[Partition, Delivery]:
        """The oldest delivery held of each partition."""
        return {partition: row[0].delivery for partition, row in self._rows.items() if row}

    def stalled(self, after_s: float) -> Partition | None:
        """The partition whose head has been the oldest post held for longer than ``after_s``, and nothing was found of it.

        Posts are judged in the order of the take, so every other partition waits its turn: behind
        a backlog of a slow engine that may take far longer, and is no stall. A head that is never
        answered becomes the oldest in the end.
        """
        if self._oldest is None:
            return None
        moved_at = max(self._oldest_since, self._oldest.moved_at)
        if self._clock() - moved_at <= after_s:
            return None
        return self._oldest.delivery.partition


def _size_bytes(delivery: Delivery) -> int:
    size = len(delivery.value or b"") + len(delivery.key or b"")
    for name, value in delivery.headers:
        size += len(name) + len(value or b"")
    return size
