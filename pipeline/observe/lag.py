"""Lag: how long the oldest post without an answer has waited, and which partitions stand still. Pure: it is told what others see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.clock import OLDEST_S
from sluicegate.pipeline.records import Delivery, Partition

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


class StallDetection:
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
        """There is a reason to wait, or nothing to be seen: every partition's time begins again."""
        self._since = {}
        self._show(())

    def _show(self, partitions: Iterable[Partition]) -> tuple[Partition, ...]:
        before, self._partitions = self._partitions, tuple(partitions)
        return tuple(one for one in self._partitions if one not in before)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What two looks tell of a partition's oldest post, whatever its timestamp says."""

    end: int
    """Where the partition ended at a look: what stands before that was there, what stands behind was not."""
    at: float
    """When that was."""
    absent_at: float
    """When the oldest post was not there yet; minus infinity where nobody looked then."""


class Lag:
    """Estimates the age of the oldest post without an answer, of all partitions of one assignment.

    - A post that the worker holds has the timestamp of its record, right as far as the clocks agree.
    - What it has not taken yet is no older than the record taken last from its partition: too much by
      the time between the two. Where none was taken yet, since the first look: too little by as long as it waited before.
    - Looks at the ends of the partitions correct both. A post is at least as old as the first look since it has been the
      oldest, and younger than a look that did not see it, at most twice the lag and a look ago.
      So wrong timestamps hide no stall, and exaggerate only what stood there at the first look, by ``OLDEST_S`` at most.
    - A partition that ends earlier than before was cut or made again: what the looks before saw there counts no more.
    - Zero means that the last look saw nothing waiting: a post that came since is missed for no
      longer than ``fresh_s``. Where no look succeeds for longer, nobody knows, and the time since the last one
      counts; before the first one, the time since the assignment.

    Args:
        fresh_s: For how long a look speaks for the present.
    """

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._looked_at: dict[Partition, float] = {}
        self._marks: dict[Partition, _Mark | None] = {}
        self._taken_ms: dict[Partition, int | None] = {}

    def assigned(self, partitions: Iterable[Partition], now: float) -> None:
        """Begin again with these partitions, at a time of the monotonic clock."""
        self._marks = dict.fromkeys(partitions)
        self._looked_at = dict.fromkeys(self._marks, now)
        self._taken_ms = {}

    def took(self, delivery: Delivery) -> None:
        """Note the record taken last from its partition."""
        self._taken_ms[delivery.partition] = delivery.timestamp_ms

    def look(
        self, places: Mapping[Partition, ReadPlace], held: Mapping[Partition, Delivery], now: float
    ) -> None:
        """Take note of where the partitions ended at a time, and of the oldest delivery held of each."""
        for partition in self._marks.keys() & places.keys():
            place = places[partition]
            mark = self._marks[partition] or _Mark(place.end, now, -math.inf)
            oldest = _oldest(place, held.get(partition))
            if place.end < mark.end:
                # What is held from behind the new end is of the log before it, and so is the mark.
                if partition not in held or oldest < place.end:
                    mark = _Mark(place.end, now, -math.inf)
                if place.taken > place.end:
                    self._taken_ms.pop(partition, None)
            elif oldest >= mark.end:
                mark = _Mark(place.end, now, mark.at)
            self._marks[partition], self._looked_at[partition] = mark, now

    def seconds(
        self,
        places: Mapping[Partition, ReadPlace],
        held: Mapping[Partition, Delivery],
        *,
        now: float,
        utc_ms: float,
    ) -> float:
        """The age of the oldest post without an answer, by the places of the last look and what is held now."""
        ages = [self._age(one, places.get(one), held.get(one), now=now, utc_ms=utc_ms) for one in self._marks]
        return max(ages, default=0.0)

    def _age(
        self,
        partition: Partition,
        place: ReadPlace | None,
        held: Delivery | None,
        *,
        now: float,
        utc_ms: float,
    ) -> float:
        mark, looked_at = self._marks[partition], self._looked_at[partition]
        offset = _oldest(place, held)
        if held is None and mark is None:
            return now - looked_at
        if held is None and (place is None or offset >= place.end):
            return now - looked_at if now - looked_at > self._fresh_s else 0.0
        seen_at, absent_at = now, -math.inf
        if mark is not None and place is not None:
            if offset < place.end:
                seen_at = looked_at
            if offset < mark.end:
                seen_at, absent_at = mark.at, mark.absent_at
            else:
                absent_at = mark.at
        stamp = held.timestamp_ms if held is not None else self._taken_ms.get(partition)
        by_stamp = 0.0 if stamp is None else min((utc_ms - stamp) / 1000, OLDEST_S)
        return min(max(by_stamp, now - seen_at), now - absent_at)


def _oldest(place: ReadPlace | None, held: Delivery | None) -> int:
    """The offset of the oldest record without an answer, or of the one that comes next."""
    if held is not None:
        return held.offset
    return 0 if place is None else place.next
