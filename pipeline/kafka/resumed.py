"""A reader of topics that goes on where its caller stopped: the caller keeps the offsets, and no group does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.pipeline.kafka.reader import BEGINNING, Tail, place_of
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ResumedTail(Tail):
    """Every record of some topics from given offsets on; a partition without one is read from its beginning.

    Where retention has passed an offset, reading goes on at the oldest record that is left.

    Args:
        kafka: The cluster.
        topics: Topics to read; all must exist.
        offsets: The next offset to read, by topic and partition.
    """

    def __init__(
        self, kafka: KafkaSettings, topics: Sequence[str], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        super().__init__(kafka, topics)
        self._offsets = dict(offsets)

    def unread(self, offsets: Mapping[tuple[str, int], int]) -> int:
        """How many records the topics have from these offsets on, as far as the brokers have told. Asks nobody.

        Args:
            offsets: The next offset to read, by topic and partition. A partition without one counts nothing.
        """
        count = 0
        for one in self._consumer.assignment():
            _, end = self._consumer.get_watermark_offsets(one, cached=True)
            count += max(0, end - offsets.get((one.topic, one.partition), end))
        return count

    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        self._consumer.assign([place_of(*place, self._offsets.get(place, BEGINNING)) for place in places])
