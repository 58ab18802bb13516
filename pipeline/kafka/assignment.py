"""An assignment: one partition while this member has it. Where it begins, what is handed on of it, and what is committed.

Nothing here asks a broker. Why it is so: docs/adr/0018.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from confluent_kafka import TopicPartition

from sluicegate.pipeline.records import Partition

if TYPE_CHECKING:
    from collections.abc import Sequence

_RECORD_BYTES = 128  # what a record costs beside its bytes

UNREADABLE: tuple[tuple[str, bytes | None], ...] = (("sluicegate-unreadable-headers", None),)
"""Stands for the headers of a record where a header's name is no UTF-8: the client gives none of them."""

# Not `message.headers()`: for a name that is no UTF-8 the client returns a list and leaves an error behind, which the
# interpreter's fast calls pass over; it would come up at a later call.
_headers_of = methodcaller("headers")


How = Literal["missed", "cut", "made again"]
"""Why a partition is read from another place than its commit."""


class Reset(NamedTuple):
    """A partition that is read from another place than where it was to go on."""

    how: How
    wanted: int
    """The offset that was to be read next."""
    found: int
    """The offset that is read next."""


class Begin(NamedTuple):
    """Where to begin with a partition."""

    offset: int
    reset: Reset | None


def where_to_begin(
    committed: int | None,
    committed_of: str | None,
    incarnation: str | None,
    *,
    lost: int | None,
    diverged: bool,
    first: int,
    end: int,
) -> Begin:
    """Decide where a partition is read. Pure.

    A log that ends before the commit was cut, and so was one that the brokers say has lost an offset which they
    seem to have: it has grown since. Where it was cut, nobody tells: it is read from its beginning, which repeats
    posts and loses none.

    Args:
        committed: The offset committed; None if there is none.
        committed_of: The incarnation of the topic that the commit is of; None if it names none.
        incarnation: The topic's own; None where the brokers do not tell.
        lost: The offset that was to be read next, and that the brokers do not have; None if they said no such thing.
        diverged: True if the log is another one from some offset before the commit on.
        first: The first offset of the log.
        end: The offset behind its last record.
    """
    wanted = committed if lost is None else lost
    if wanted is None:
        return Begin(first, None)
    if committed_of is not None and incarnation is not None and committed_of != incarnation:
        return Begin(first, Reset("made again", wanted, first))
    if wanted < first:
        return Begin(first, Reset("missed", wanted, first))
    if wanted > end or lost is not None or diverged:
        return Begin(first, Reset("cut", wanted, first))
    return Begin(wanted, None)


class Assignment:
    """One partition, for as long as this member has it and its log stays the same.

    The consumer's thread hands on; the event loop takes and acknowledges. Each field has one writer.

    Args:
        partition: Topic and number.
        start: The offset that is read first.
        incarnation: The topic's, which every commit names.
    """

    def __init__(self, partition: Partition, start: int, incarnation: str | None) -> None:
        self.partition = partition
        self.incarnation = incarnation
        self.is_current = True
        """False once it has ended: what is acknowledged of it counts no more."""
        self.handed = start
        """Behind the last record handed on."""
        self.chunks = 0
        """How many chunks were handed on."""
        self.taken = start
        """Behind the last record that the flow took. The loop's."""
        self.chunks_taken = 0
        """The loop's."""
        self.acknowledged = start
        """Behind the last record acknowledged. The loop's."""
        self.committed = start
        """Committed last, or asked to be."""
        self._end_seen = start
        self._epochs: deque[tuple[int, int]] = deque()

    @property
    def position(self) -> int:
        """The offset that is handed on next, as far as the client told."""
        return max(self.handed, self._end_seen)

    def acknowledge(self, offset: int) -> None:
        """Let the commit move past a record. In offset order; in the loop."""
        if self.is_current:
            self.acknowledged = offset + 1

    def hand(self, offset: int, leader_epoch: int | None) -> None:
        """Note a record on its way to the flow."""
        self.handed = offset + 1
        if leader_epoch is not None and (not self._epochs or self._epochs[-1][1] != leader_epoch):
            self._epochs.append((offset, leader_epoch))

    def see_end(self, offset: int) -> None:
        """Note where the partition ended: behind transactions' markers and aborted records as well."""
        self._end_seen = offset

    def due(self) -> TopicPartition | None:
        """What to commit; None if that is committed.

        Where all that was handed on is acknowledged, it is the end that was seen: a group's lag reaches zero.
        The leader's epoch goes with it, so that a log which was cut meanwhile is known by it.
        """
        offset = self.acknowledged
        if offset == self.handed:
            offset = max(offset, self._end_seen)
        if offset <= self.committed:
            return None
        while len(self._epochs) > 1 and self._epochs[1][0] < offset:
            self._epochs.popleft()
        # What stands behind the last record may be of a later epoch, which nobody tells: with an earlier one it would pass for cut.
        known = bool(self._epochs) and self._epochs[0][0] < offset == self.acknowledged
        epoch = self._epochs[0][1] if known else None
        return place(self.partition, offset, self.incarnation, epoch)


_OF = "topic-id="


def place(
    partition: Partition, offset: int, incarnation: str | None, epoch: int | None = None
) -> TopicPartition:
    """A commit, which names the incarnation of its topic."""
    metadata = "" if incarnation is None else _OF + incarnation
    return TopicPartition(*partition, offset, metadata, -1 if epoch is None else epoch)


def incarnation_of(commit: TopicPartition) -> str | None:
    """The incarnation that a commit names; None if it names none."""
    metadata = commit.metadata or ""
    return metadata.removeprefix(_OF) if metadata.startswith(_OF) else None


@dataclass(slots=True, eq=False)  # frozen, each would take twice as long to make
class KafkaDelivery:
    """One record of an assignment. Nobody changes it."""

    assignment: Assignment
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int | None

    @classmethod
    def of(cls, assignment: Assignment, offset: int, message: Any) -> Self:
        """What a client's message holds."""
        try:
            headers = tuple(_headers_of(message) or ())
        except (SystemError, UnicodeDecodeError):  # what the client makes of a name that is no UTF-8
            headers = UNREADABLE
        kind, stamp = message.timestamp()
        sent_ms = stamp if kind and stamp >= 0 else None
        return cls(assignment, offset, message.key(), message.value(), headers, sent_ms)

    @property
    def partition(self) -> Partition:
        """Topic and partition number."""
        return self.assignment.partition

    @property
    def size_bytes(self) -> int:
        """What it takes of a buffer."""
        size = len(self.value or b"") + len(self.key or b"") + _RECORD_BYTES
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size

    @property
    def is_current(self) -> bool:
        """False once the assignment has ended: the record is read again, here or elsewhere."""
        return self.assignment.is_current

    def acknowledge(self) -> None:
        """Let the group commit past this record."""
        self.assignment.acknowledge(self.offset)

    def release(self) -> None:
        """Nothing is to be done: what is not acknowledged is not committed."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Records of one assignment, in offset order."""

    assignment: Assignment
    number: int
    """Of the chunks of its assignment, from 1."""
    deliveries: list[KafkaDelivery]
    size_bytes: int
