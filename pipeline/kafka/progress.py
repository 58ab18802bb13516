"""The hand-over: what the consumer gave to the stream, and whether the flow got all of it. Pure."""

from __future__ import annotations

from collections import Counter

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.records import Partition


class HandOver:
    """The account of one assignment."""

    def __init__(self) -> None:
        self.reached: dict[Partition, int] = {}
        """Behind the last record given, per partition."""
        self._given: Counter[Partition] = Counter()
        self._taken: Counter[Partition] = Counter()

    def begin(self) -> None:
        """Begin anew, with another assignment."""
        self.reached.clear()
        self._given.clear()
        self._taken.clear()

    def give(self, partition: Partition, offset: int) -> int:
        """Note a record on its way to the stream; its number in this assignment."""
        self.reached[partition] = offset + 1
        self._given[partition] = number = self._given[partition] + 1
        return number

    def take(self, partition: Partition, number: int) -> None:
        """Note that the flow got a record. Offsets may have gaps, or come again after a seek; numbers do neither.

        Raises:
            ClusterError: Records before it were dropped on the way. To go on would be to commit past them.
        """
        dropped = number - 1 - self._taken[partition]
        if dropped:
            topic, partition_number = partition
            raise ClusterError(
                f"{dropped} records of {topic}/{partition_number} were fetched and dropped on their way; nothing was "
                "committed past them: start the worker again, and they are read again"
            )
        self._taken[partition] = number
