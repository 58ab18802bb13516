"""Fetching: aiokafka's consumer where its habits do not suffice (docs/adr/0007).

aiokafka has no way to hand in a fetcher or a parser. So the two names under which it looks them
up are replaced, for this process, by :func:`install`, which the source calls when it starts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import WeakKeyDictionary

import aiokafka.consumer.consumer
import aiokafka.consumer.fetcher
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from mode.utils.queues import ThrowableQueue

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.observe.lag import ReadPlace
from sluicegate.pipeline.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aiokafka import AIOKafkaConsumer


_log = structlog.get_logger(__name__)


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final for type checkers only
    """The batches of one partition's answer to a fetch, in place of aiokafka's own."""

    def next_batch(self, *places: int) -> Any:
        """The next batch; None after the last."""
        raw = self._next_slice
        batch = super().next_batch(*places)
        # Older formats know no headers.
        return _LenientBatch(batch, raw) if isinstance(batch, DefaultRecordBatch) else batch


class _LenientBatch:
    """A batch, parsed by aiokafka's compiled parser as long as that takes it."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def validate_crc(self) -> bool:
        """Compare the checksum. The fetcher raises where it is wrong, and names the partition alone."""
        sound = bool(self._batch.validate_crc())
        if not sound:
            last = self._batch.next_offset - 1
            _log.error("batch_damaged", first_offset=self._batch.base_offset, last_offset=last)
        return sound

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except (UnicodeDecodeError, CorruptRecordException):  # the latter from its pure Python twin
            # From the batch's beginning: the fetcher skips offsets that it has given already.
            yield from _EscapingBatch(self._raw)


class _EscapingBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for type checkers only
    """A batch whose headers' names are escaped where they are no UTF-8. Slow, and rarely needed."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Escaping(self._buffer)


class _Escaping(bytearray):
    """Bytes, as are their slices, that decode without fail: what is no UTF-8 is escaped in hexadecimal."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        found = super().__getitem__(place)
        return _Escaping(found) if isinstance(found, bytearray) else found

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")


_TOGETHER_BYTES = 262_144


class StreamBuffer(ThrowableQueue):  # type: ignore[misc]  # untyped base
    """Faust's queue of events, which is under pressure from a number of bytes on, too.

    Under pressure each partition pauses with its next record. What was fetched by then still comes
    in, so at most one fetch of each partition stands above the bound.

    Args:
        most_bytes: Keys, values and headers of the records, together.
        options: Those of Faust's queue.
    """

    def __init__(self, *, most_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._most_bytes = most_bytes
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the records that stand here now."""
        return self._size_bytes

    @property
    def pressure_high_size(self) -> int:
        """Records from which on Faust's queue pauses its partitions."""
        return int(self.maxsize / self.pressure_high_ratio) if self._size_bytes < self._most_bytes else 0

    @property
    def pressure_drop_size(self) -> int:
        """Records down to which Faust's queue lets its partitions go on."""
        low_bytes = self._most_bytes * self.pressure_drop_ratio
        return int(self.maxsize * self.pressure_drop_ratio) if self._size_bytes <= low_bytes else 0

    def full(self) -> bool:
        """Never: what was fetched stands in memory anyway, and under pressure no more is fetched."""
        return False

    async def get_some(self, most: int) -> list[Any]:
        """Wait for an event; what stands here then, at most this many, and of long records few: no bound counts them now."""
        events = [await self.get()]
        left = self._size_bytes - _TOGETHER_BYTES
        while len(events) < most and not self.empty() and self._size_bytes > left:
            events.append(self.get_nowait())
        return events

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._size_bytes += _bytes_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._size_bytes -= _bytes_of(item)
        return item

    def clear(self) -> None:
        """Drop everything: Faust does so when partitions are taken away."""
        super().clear()
        self._size_bytes = 0


def _bytes_of(event: Any) -> int:
    message = event.message
    headers = sum(len(name) + len(value or b"") for name, value in message.headers or ())
    return len(message.key or b"") + len(message.value or b"") + headers


class DeliveryCount:
    """The account of one assignment."""

    def __init__(self) -> None:
        self.reached: dict[Partition, int] = {}
        """Behind the last record given, per partition."""
        self._given: Counter[Partition] = Counter()
        self._taken: Counter[Partition] = Counter()

    def begin(self) -> None:
        """Begin again, with another assignment."""
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


class BrokersAwayError(Exception):
    """The brokers do not say where the partitions end. The message says why."""


class Fetcher(aiokafka.consumer.fetcher.Fetcher):  # type: ignore[misc]  # untyped base
    """Tells when a partition's position was out of the log, and where it was set again."""

    on_reset: Callable[[TopicPartition, int, int], None]
    """Gets the partition, the offset that was to be read next, and the one that is. In the consumer's thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # By the state of a partition in one assignment: what an earlier one left behind is forgotten with it.
        self._out_of_range: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> Any:
        has_news = await super()._proc_fetch_request(assignment, node_id, request)
        for topic, partitions in request.topics:
            for number, offset, _ in partitions:
                state = assignment.state_value(TopicPartition(topic, number))
                if state.awaiting_reset:
                    self._out_of_range[state] = offset
        return has_news

    async def _update_fetch_positions(self, assignment: Any, node_id: int, partitions: Any) -> Any:
        has_news = await super()._update_fetch_positions(assignment, node_id, partitions)
        for partition in partitions:
            state = assignment.state_value(partition)
            if state in self._out_of_range and state.has_valid_position:
                wanted = self._out_of_range.pop(state)
                # Else Faust's seek to the commit came between, and the next fetch tells.
                if state.position != wanted:
                    self.on_reset(partition, wanted, state.position)
        return has_news


def install() -> None:
    """Let every consumer of aiokafka that this process makes fetch in our way."""
    aiokafka.consumer.consumer.Fetcher = Fetcher
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords


class FetchProgress:
    """How far one consumer has come in each of its partitions. Used in its thread only."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer: Any = consumer
        self._fetched: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._positions: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._first: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._cuts: Counter[Partition] = Counter()
        self.cuts_at_fetch: Mapping[Partition, int] = {}
        """How often each partition had been set back when what was handed out last was fetched; made again, never changed."""

    def fetched(self, records: dict[TopicPartition, list[Any]]) -> None:
        """Note what the fetcher just handed out, before anything else runs in this thread.

        And where it stands then: a fetch that fails in one partition has moved on in others,
        past records that nobody got.
        """
        for partition, state in self._states().items():
            if partition in records:
                self._fetched[state] = records[partition][-1].offset + 1
                self._first.setdefault(state, records[partition][0].offset)
            if state.has_valid_position:
                self._positions[state] = state.position
        if self._cuts:
            self.cuts_at_fetch = dict(self._cuts)

    def reset(self, partition: TopicPartition, *, cut: bool) -> None:
        """Forget what a position that was out of the log, and is set again, makes wrong.

        Args:
            partition: Whose position it was.
            cut: True if it is set back to an earlier offset; else what was fetched first is gone from the log.
        """
        state = self._states().get(partition)
        if state is not None:
            for kept in (self._fetched, self._positions, self._first) if cut else (self._first,):
                kept.pop(state, None)
        self._cuts[partition.topic, partition.partition] += cut

    def uncommitted(self, committed: Mapping[TopicPartition, int | None]) -> dict[TopicPartition, int]:
        """Where to read again the partitions that have no commit: at the first record fetched in this assignment.

        Args:
            committed: Offset per partition; None or 0 where there is no commit.
        """
        return {
            partition: self._first[state]
            for partition, state in self._states().items()
            if state in self._first and not committed.get(partition)
        }

    def require_taken(self, first_acknowledged: Mapping[Any, int]) -> None:
        """Assert that nothing fetched was dropped on the way: a commit would lose it.

        The window acknowledges in the order of the offsets, so the first record acknowledged in an assignment is the
        first that was fetched in it.

        Args:
            first_acknowledged: Offset of the first record acknowledged in this assignment, per partition.

        Raises:
            ClusterError: It was a later one.
        """
        for partition, state in self._states().items():
            fetched, reached = self._first.get(state), first_acknowledged.get(partition)
            if fetched is not None and reached is not None and reached > fetched:
                raise ClusterError(
                    f"records {fetched} to {reached - 1} of {partition.topic}/{partition.partition} were fetched and never "
                    "taken; nothing was committed past them: start the worker again, and they are read again"
                )

    def committable(self, acknowledged: dict[Any, int]) -> dict[TopicPartition, int]:
        """The offset to commit per partition, given the one behind the last acknowledged record.

        Where everything handed out is acknowledged, that is the position at the last fetch that
        went well, which stands behind the markers of transactions, aborted records and what compaction took as well: a group's
        lag reaches zero, and none of these is ever taken for a record that was missed.
        """
        found = {}
        for partition, state in self._states().items():
            reached = acknowledged.get(partition)
            if state in self._positions and self._fetched.get(state) == reached:
                found[partition] = max(self._positions[state], reached or 0)
            elif reached is not None:
                found[partition] = reached
        return found

    async def places(self, *, within_s: float) -> dict[Partition, ReadPlace]:
        """Where each partition is read next, and where the brokers say that it ends.

        The end is that of the last closed transaction: an open one is nobody's stall.

        Raises:
            BrokersAwayError: They did not say so in time, or refused.
        """
        partitions = list(self._states())
        try:
            ends = await self._consumer._fetcher.end_offsets(partitions, within_s * 1000)  # noqa: SLF001 - the public one waits for the request timeout
        except KafkaError as error:
            raise BrokersAwayError(type(error).__name__) from error
        return {
            (partition.topic, partition.partition): ReadPlace(
                state.position if state.has_valid_position else None, ends[partition]
            )
            for partition, state in self._states().items()
            if partition in ends
        }

    def _states(self) -> dict[TopicPartition, Any]:
        subscription = self._consumer._subscription.subscription  # noqa: SLF001 - no public way to a position without waiting
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or not assignment.active:
            return {}
        return {partition: assignment.state_value(partition) for partition in assignment.tps}


def coordinator_fault(consumer: Any) -> str | None:
    """The name of what ended the task that keeps a consumer in its group; None while that lives."""
    coordinator = None if consumer is None else consumer._coordinator  # noqa: SLF001 - no public way
    if coordinator is None:
        return None  # it is starting: on a busy machine that takes longer than from one look to the next
    if coordinator._coordination_task.done() or coordinator._pending_exception is not None:  # noqa: SLF001 - no public way
        return type(coordinator._pending_exception).__name__  # noqa: SLF001 - no public way
    return None
