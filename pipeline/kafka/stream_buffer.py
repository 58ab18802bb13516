"""The buffer between Faust's fetching and the window, bounded by bytes as well as by records.

Faust counts records: 4,096 of them are a megabyte of short posts and a gigabyte of the longest.
"""

from __future__ import annotations

from typing import Any

from mode.utils.queues import ThrowableQueue

_TOGETHER_BYTES = 262_144


class StreamBuffer(ThrowableQueue):  # type: ignore[misc]  # untyped base
    """Faust's queue of events, which is under pressure from a number of bytes on, too.

    Under pressure each partition pauses with its next record. What was fetched by then still comes
    in, so at most one fetch of each partition stands above the bound.

    Args:
        most_bytes: Keys, values and headers of the records, together.
        options: Those of Faust's queue.
    """

    def __init__(self, *, most_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._most_bytes = most_bytes
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the records that stand here now."""
        return self._size_bytes

    @property
    def pressure_high_size(self) -> int:
        """Records from which on Faust's queue pauses its partitions."""
        return int(self.maxsize / self.pressure_high_ratio) if self._size_bytes < self._most_bytes else 0

    @property
    def pressure_drop_size(self) -> int:
        """Records down to which Faust's queue lets its partitions go on."""
        low_bytes = self._most_bytes * self.pressure_drop_ratio
        return int(self.maxsize * self.pressure_drop_ratio) if self._size_bytes <= low_bytes else 0

    def full(self) -> bool:
        """Never: what was fetched stands in memory anyway, and under pressure no more is fetched."""
        return False

    async def get_some(self, most: int) -> list[Any]:
        """Wait for an event; what stands here then, at most so many, and of long records few: no bound counts them now."""
        events = [await self.get()]
        left = self._size_bytes - _TOGETHER_BYTES
        while len(events) < most and not self.empty() and self._size_bytes > left:
            events.append(self.get_nowait())
        return events

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._size_bytes += _bytes_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._size_bytes -= _bytes_of(item)
        return item

    def clear(self) -> None:
        """Drop everything: Faust does so when partitions are taken away."""
        super().clear()
        self._size_bytes = 0


def _bytes_of(event: Any) -> int:
    message = event.message
    headers = sum(len(name) + len(value or b"") for name, value in message.headers or ())
    return len(message.key or b"") + len(message.value or b"") + headers
