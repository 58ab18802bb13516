"""The replay: records to the input topic, only so many ahead of their answers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.demo.tally import identity, parse

if TYPE_CHECKING:
    from collections.abc import Sequence


class Replay:
    """Sends records in their order. Use as a context manager, from the event loop: nothing here blocks.

    Args:
        kafka: The cluster.
        topic: The input topic.
        records: Raw values.
        ahead: Most records sent and not yet answered; more would only measure the queue.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, records: Sequence[bytes], *, ahead: int) -> None:
        self._producer = Producer(kafka, linger_ms=2)
        self._topic = topic
        self._left = deque(records)
        self._ahead = ahead
        self._failure = ""
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._producer.close(0.0)

    @property
    def done(self) -> bool:
        """True once everything was sent."""
        return not self._left

    def top_up(self, answered: int) -> None:
        """Send as many as may be ahead of so many answers, and as there is room for.

        Raises:
            DemoError: The broker refused a record.
        """
        while self._left and self.sent - answered < self._ahead:
            value = self._left[0]
            who = identity(parse(value), "id")
            key = who[1].encode("utf-8", "replace") if who else None
            if not self._producer.send(self._topic, value, key, report=self._delivered):
                break  # the queue is full: the next call goes on with the same record
            self._left.popleft()
            self.sent += 1
        self._producer.poll()
        if self._failure:
            raise DemoError(f"the broker refused a post ({self._failure}); shorten it, or leave it out")

    def _delivered(self, outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            self._failure = outcome.reason
