"""A reader of topics that goes on where its caller stopped: the caller keeps the offsets, and no group does."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sluicegate.pipeline.kafka.reader import BEGINNING, METADATA_S, Tail, place_of
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

    @property
    def is_idle(self) -> bool:
        """True if nothing stands on the topics that was not read, as far as the brokers have told."""
        return self.at_end and not any(
            0 <= place.offset < self._consumer.get_watermark_offsets(place, cached=True)[1]
            for place in self._consumer.position(self._consumer.assignment())
        )

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
        self._unfinished = set(places)
        self._consumer.assign([place_of(*place, self._offsets.get(place, BEGINNING)) for place in places])


def offsets_since(kafka: KafkaSettings, topics: Sequence[str], moment_ms: int) -> dict[tuple[str, int], int]:
    """The first record from a moment on, by topic and partition. Blocking.

    Brokers that cannot look it up, as the embedded one, give none: then all is read from the beginning.

    Args:
        kafka: The cluster.
        topics: They exist.
        moment_ms: Unix milliseconds.

    Raises:
        ClusterError: The cluster does not answer, or lacks one of the topics.
    """
    with _Clock(kafka, topics, moment_ms) as clock:
        return clock.found


class _Clock(ResumedTail):
    """Looks up where a moment stands, and reads nothing."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], moment_ms: int) -> None:
        super().__init__(kafka, topics, {})
        self._moment_ms = moment_ms
        self.found: dict[tuple[str, int], int] = {}

    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who reads pays for the client

        asked = [place_of(*place, self._moment_ms) for place in places]
        with contextlib.suppress(KafkaException):
            for one in self._consumer.offsets_for_times(asked, timeout=METADATA_S):
                if one.error is None:
                    # Nothing is so new: what comes from now on is.
                    offset = one.offset if one.offset >= 0 else self._end((one.topic, one.partition))
                    self.found[one.topic, one.partition] = offset
