"""The replay: records to the input topic, only so many ahead of their answers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Self

from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.trial.demo.tally import identity, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.pipeline.settings.tree import KafkaSettings

_FLUSH_S = 5.0


class Replay:
    """Sends records in their order. Use as a context manager, from the event loop: nothing here blocks.

    Args:
        kafka: The cluster.
        topic: The input topic.
        records: Raw values.
        ahead: Most records sent and not yet answered; more would only measure the queue.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, records: Sequence[bytes], *, ahead: int) -> None:
        self._kafka = kafka
        self._topic = topic
        self._left = deque(records)
        self._ahead = ahead
        self._producer: Any = None
        self._failure = ""
        self.sent = 0

    def __enter__(self) -> Self:
        from confluent_kafka import Producer  # noqa: PLC0415 - only who sends pays for the client

        self._producer = Producer(
            {**client_config(self._kafka), "enable.idempotence": True, "acks": "all", "linger.ms": 2}
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        self._producer.purge()
        self._producer.flush(_FLUSH_S)

    @property
    def done(self) -> bool:
        """True once everything was sent."""
        return not self._left

    def top_up(self, answered: int) -> None:
        """Send as many as may be ahead of so many answers.

        Raises:
            DemoError: The broker refused a record.
        """
        while self._left and self.sent - answered < self._ahead:
            value = self._left.popleft()
            who = identity(parse(value), "id")
            key = who[1].encode("utf-8", "replace") if who else None
            self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            self.sent += 1
        self._producer.poll(0)
        if self._failure:
            raise DemoError(f"the broker refused a post ({self._failure}); shorten it, or leave it out")

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = error.name()
