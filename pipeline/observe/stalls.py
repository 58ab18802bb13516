"""Standstill: which partitions have records waiting and yet do not move. Pure: it is told what others see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.records import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """How far one partition has come."""

    position: int | None
    """The offset to be fetched next; None while it is unknown."""
    end: int
    """Where the brokers say that the partition ends: the offset behind the last record to be had."""
    handed: int = 0
    """Behind the last record that the consumer handed to the stream."""
    taken: int = 0
    """Behind the last record that the flow took from the stream."""

    @property
    def waits(self) -> bool:
        """True if there is something to fetch or to take."""
        return self.position is None or self.position < self.end or self.taken < self.handed

    @property
    def next(self) -> int:
        """The offset from which on nothing was taken: of the buffer, else of what is to be fetched."""
        return self.taken if self.position is None or self.taken < self.handed else self.position


class Standstill:
    """Finds partitions that wait at the same place for longer than ``after_s`` without an excuse."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._since: dict[Partition, tuple[tuple[int | None, int], float]] = {}
        self._partitions: tuple[Partition, ...] = ()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Those that stood still at the last look."""
        return self._partitions

    def look(self, places: Mapping[Partition, ReadPlace], now: float) -> tuple[Partition, ...]:
        """Compare with the looks before, at a time of the monotonic clock; give the newly found."""
        before, self._since = self._since, {}
        for partition, place in places.items():
            if not place.waits:
                continue
            at = (place.position, place.taken)
            was_at, since = before.get(partition, (at, now))
            self._since[partition] = (at, since if was_at == at else now)
        return self._show(
            partition for partition, (_, since) in self._since.items() if now - since > self._after_s
        )

    def excuse(self) -> None:
        """There is a reason to wait, or nothing to be seen: every partition's time begins anew."""
        self._since = {}
        self._show(())

    def _show(self, partitions: Iterable[Partition]) -> tuple[Partition, ...]:
        before, self._partitions = self._partitions, tuple(partitions)
        return tuple(one for one in self._partitions if one not in before)
