"""The transport of a verdict consumer: a member of a consumer group."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import REFRESH_MS
from sluicegate.pipeline.kafka.onlooker import PASSING
from sluicegate.pipeline.kafka.reader import METADATA_S, TopicConsumer, TopicRecord
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


_log = logging.getLogger("sluicegate.client")

_HOPELESS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own name
}
_AT_WORK = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
"""What a group with members tells a client that is none: it has begun already."""
_STARTING = PASSING | {"COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR"}
"""Where no group has ever been, the cluster makes its coordinator when the first one asks."""
_AGAIN_S = 0.2


class Member(TopicConsumer):
    """A member of a consumer group, which commits what it was told is done. One thread at a time."""

    def __init__(
        self, kafka: KafkaSettings, topics: Sequence[str], group: str, *, start: Literal["beginning", "end"]
    ) -> None:
        super().__init__(
            kafka,
            topics,
            {
                "group.id": group,
                "enable.auto.offset.store": False,  # only what is done is committed, in the background
                "auto.commit.interval.ms": 1000,  # after a crash so much work comes again
                "topic.metadata.refresh.interval.ms": REFRESH_MS,
                # By number: the three topics of one post's verdicts belong to one member, if they
                # have equally many partitions.
                "partition.assignment.strategy": "range",
            },
        )
        self._start = start

    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        if self._start == "end":
            self._begin_at_end([TopicPartition(*place) for place in places])
        self._consumer.subscribe(list(self._topics))

    def _begin_at_end(self, places: list[TopicPartition]) -> None:
        deadline = time.monotonic() + METADATA_S
        while True:
            try:
                self._commit_ends(places)
            except KafkaException as error:
                told = error.args[0]
                if told.name() in _STARTING and time.monotonic() < deadline:
                    time.sleep(_AGAIN_S)
                    continue
                if told.code() not in _AT_WORK:
                    raise self._unreachable(error) from error
            return

    def _commit_ends(self, places: list[TopicPartition]) -> None:
        # Committed, once for each topic: an end that is looked up again at every start leaves out what came in between.
        known = _sound(self._consumer.committed(places, timeout=METADATA_S))
        begun = {one.topic for one in known if one.offset >= 0}
        new = [one for one in known if one.topic not in begun]
        for one in new:
            one.offset = self._consumer.get_watermark_offsets(one, timeout=METADATA_S)[1]
        if new:
            _sound(self._consumer.commit(offsets=new, asynchronous=False))

    def _go_on(self, before: Any) -> None:
        before.close()  # commits what is done, and leaves
        self._consumer.subscribe(list(self._topics))

    def take(self, timeout_s: float) -> TopicRecord | None:
        """The next record; None if none came within the time.

        Raises:
            ClusterError: The topics cannot be read.
        """
        self._look_at_credentials()
        message = self._consumer.poll(timeout_s)
        return next(iter(self._records([] if message is None else [message])), None)

    def _meet(self, _place: tuple[str, int], error: KafkaError) -> None:
        if error.code() in _HOPELESS or error.fatal():
            raise ClusterError(
                f"the verdict topics cannot be read ({error.name()}); check that they exist, and the rights"
            )
        _log.warning("verdict topics: %s", error.name())  # librdkafka goes on by itself

    def done(self, record: TopicRecord) -> None:
        """Commit, in a moment, up to and with this record; after a loss of its partition nothing."""
        with contextlib.suppress(KafkaException):  # its new owner gets it again
            done = TopicPartition(record.topic, record.partition, record.offset + 1)
            self._consumer.store_offsets(offsets=[done])


class _GroupStart(Member):
    """Commits where a group is to begin, and joins it never."""

    def _begin(self, places: Sequence[tuple[str, int]]) -> None:
        self._begin_at_end([TopicPartition(*place) for place in places])


def begin_at_end(kafka: KafkaSettings, topic: str) -> None:
    """Let a group that has read nothing of a topic yet begin where that ends now. Blocking.

    Raises:
        ClusterError: The cluster does not answer, or has no such topic.
    """
    with _GroupStart(kafka, [topic], kafka.group, start="end"):
        pass


def _sound(places: list[TopicPartition]) -> list[TopicPartition]:
    for one in places:
        if one.error is not None:
            raise KafkaException(one.error)
    return places
