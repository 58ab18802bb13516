"""The two ports of the path: deliveries in, records out. Pure.

A record has its topic, key and headers; it says what is cut where a topic takes less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import Action, DeadLetter, MadeVerdict, encode, verdict_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence


Partition = tuple[str, int]


class Delivery(Protocol):
    """One record as a source hands it over."""

    @property
    def partition(self) -> Partition:
        """Topic and partition number."""
        ...

    @property
    def offset(self) -> int:
        """Offset in the partition."""
        ...

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        ...

    @property
    def value(self) -> bytes | None:
        """The record's value; None is a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """The record's headers, in order."""
        ...

    @property
    def timestamp_ms(self) -> int | None:
        """The record's own timestamp, Unix milliseconds."""
        ...

    @property
    def is_current(self) -> bool:
        """False once the partition was revoked after this delivery: its acknowledgement must not count."""
        ...

    def acknowledge(self) -> None:
        """Let the committed offset move past this record."""
        ...

    def release(self) -> None:
        """Give it back unacknowledged: the next owner of the partition gets it again."""
        ...


@dataclass(slots=True, eq=False)
class Slot:
    """A post in the window."""

    delivery: Delivery
    size_bytes: int
    taken_at: float
    """Monotonic seconds."""
    moved_at: float = float("-inf")
    """Monotonic seconds at which something was last found of it: a long post has many parts, one after the other."""
    finished: bool = False
    released: bool = False
    """Given back: whatever is still computed for it must be neither published nor acknowledged."""


class Holder(Protocol):
    """What holds deliveries between the take and the acknowledgement."""

    @property
    def posts(self) -> int:
        """How many it holds."""
        ...

    def heads(self) -> dict[Partition, Delivery]:
        """The oldest delivery held of each partition."""
        ...

    def reopen(self) -> None:
        """Take again, after a rebalance."""
        ...


class InWindow(Protocol):
    """What has a place in the window."""

    @property
    def slot(self) -> Slot:
        """That place."""
        ...


class InWork(InWindow, Protocol):
    """A post that waits for its answer."""

    @property
    def over(self) -> bool:
        """True once it was answered or given back."""
        ...


class Answered(InWindow, Protocol):
    """A post, and the record that answers it."""

    @property
    def record(self) -> Record:
        """That record."""
        ...


_TRACE_HEADERS = ("traceparent", "tracestate")
_KEY_BYTES = 1_024  # a record may be all key; its dead letter must fit into as large a record
_TRACE_BYTES = 512  # W3C Trace Context asks receivers to carry at least this much of tracestate

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(slots=True, eq=False)
class Record:
    """One event on its way out."""

    topic: str
    key: bytes | None
    event: MadeVerdict | DeadLetter
    headers: Headers

    @property
    def value(self) -> bytes:
        """The event, encoded."""
        return verdict_bytes(self.event) if isinstance(self.event, MadeVerdict) else encode(self.event)

    def smaller(self) -> Record | None:
        """What to send where the topic refuses this one's size; None once nothing is left to cut."""
        event = cut(self.event)
        return None if event is None else replace(self, event=event)


class Outlet(Protocol):
    """Where records go; returns once they are safe there."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Deliver every record; may be cancelled. Raises only if nothing can ever be delivered again."""
        ...


def name_as_sent(name: str) -> str:
    """What is left of a header's name on its way out: librdkafka ends it at a NUL, which a producer may have written."""
    return name.partition("\0")[0]


def verdict_record(verdict: MadeVerdict, delivery: Delivery, topics: TopicSettings) -> Record:
    """A verdict, on its action's topic, keyed by post id, with the post's trace context."""
    if verdict.action is Action.ALLOW:
        topic = topics.allow
    else:
        topic = topics.block if verdict.action is Action.BLOCK else topics.review
    headers = (("verdict-id", verdict.verdict_id.encode()), *_common(verdict, delivery))
    return Record(topic, verdict.post_id.encode(), verdict, headers)


def dead_letter_record(letter: DeadLetter, delivery: Delivery, topics: TopicSettings) -> Record:
    """A dead letter, with the key of the record it buries, or the beginning of a very long one."""
    headers = (("dead-letter-id", letter.dead_letter_id.encode()), *_common(letter, delivery))
    key = None if delivery.key is None else delivery.key[:_KEY_BYTES]
    return Record(topics.dead_letter, key, letter, headers)


def _common(event: MadeVerdict | DeadLetter, delivery: Delivery) -> Headers:
    own = (("schema-version", event.schema_version.encode()), ("content-type", b"application/json"))
    if not delivery.headers:
        return own
    carried = tuple(
        (name, value)
        for name, value in delivery.headers
        if name in _TRACE_HEADERS and value is not None and len(value) <= _TRACE_BYTES
    )
    return (*own, *carried[: len(_TRACE_HEADERS)])


def cut(event: MadeVerdict | DeadLetter) -> MadeVerdict | DeadLetter | None:
    """Make an event smaller because its topic refused its size; None once nothing is left to cut.

    What is kept is what cannot be had elsewhere: ids, action, codes, provenance, hash and origin.
    """
    if isinstance(event, DeadLetter):
        if not event.payload and not event.headers:
            return None
        kept = len(event.payload) // 8 * 4  # half, on a base64 boundary
        return event.model_copy(update={"payload": event.payload[:kept], "headers": (), "truncated": True})
    smaller = replace(event, reason=None, category_scores={}, categories=())
    return None if smaller == event else smaller
