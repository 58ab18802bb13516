"""Chunks: posts that take a trip to a thread together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sluicegate.pipeline.records import InWindow

if TYPE_CHECKING:
    from asyncio import Queue


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
