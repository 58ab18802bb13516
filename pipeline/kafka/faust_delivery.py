"""One record of Faust's stream, as the window wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.records import Partition

if TYPE_CHECKING:
    from collections.abc import Sequence


class FaustDelivery:
    """An event that is acknowledged or released, once."""

    __slots__ = (
        "_app",
        "_event",
        "_generation",
        "_resets",
        "headers",
        "key",
        "offset",
        "partition",
        "timestamp_ms",
        "value",
    )

    def __init__(self, app: Any, event: Any) -> None:
        message = event.message
        self._app = app
        self._event = event
        self._generation = message.generation_id
        self.partition: Partition = (message.topic, message.partition)
        self._resets: int = getattr(message, "cuts", 0)
        self.offset: int = message.offset
        self.key: bytes | None = message.key
        self.value: bytes | None = message.value
        self.headers: Sequence[tuple[str, bytes | None]] = tuple(message.headers or ())
        self.timestamp_ms: int | None = None if message.timestamp is None else round(message.timestamp * 1000)

    @property
    def is_current(self) -> bool:
        """False after a rebalance, even one that gave the partition back: it is read again from the commit.

        False as well once the partition is read anew from an earlier offset.
        """
        same_generation = self._app.consumer_generation_id == self._generation
        return bool(same_generation and self._app.consumer.resets[self.partition] == self._resets)

    def acknowledge(self) -> None:
        """Let the group commit past this record."""
        event, self._event = self._event, None
        if event is not None:
            event.ack()

    def release(self) -> None:
        """Take the record off Faust's list of those to wait for, without acknowledging it."""
        event, self._event = self._event, None
        if event is not None:
            self._app.consumer._unacked_messages.discard(event.message)  # noqa: SLF001 - its wait has no other end
