"""The Faust part of the source: its app, and its consumer with our account. The one module that imports it.

Faust runs here as a library. Its habits that would lose or stop posts are mended here: docs/adr/0003 and 0007.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import faust
import faust.streams
from aiokafka.errors import CorruptRecordException
from faust.tables.recovery import RebalanceAgain
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor
from mode.utils.futures import notify

from sluicegate.pipeline.errors import ClusterError, StartError
from sluicegate.pipeline.kafka.client_config import sasl_password, tls_context
from sluicegate.pipeline.kafka.fetching import DeliveryCount, FetchProgress, StreamBuffer, coordinator_fault
from sluicegate.pipeline.observe.lag import ReadPlace
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings, SecuritySettings, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


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
        stamp = message.timestamp  # -1 ms is Kafka's way to say that there is none
        self.timestamp_ms: int | None = None if stamp is None or stamp < 0 else round(stamp * 1000)

    @property
    def is_current(self) -> bool:
        """False after a rebalance, even one that gave the partition back: it is read again from the commit.

        False as well once the partition is read again from an earlier offset.
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


_NEVER_S = 10 * 365 * 86_400.0


def faust_options(kafka: KafkaSettings) -> dict[str, Any]:
    """All but the group, the credentials and what is a class of Faust's."""
    return {
        "broker": [f"aiokafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        "store": "memory://",
        "web_enabled": False,
        "topic_allow_declare": False,  # no topic of Faust's own
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "consumer_auto_offset_reset": "earliest",  # a new group must not skip what is there
        "stream_wait_empty": True,
        "broker_commit_interval": kafka.commit_interval_s,
        "broker_session_timeout": kafka.session_timeout_s,
        "broker_heartbeat_interval": kafka.session_timeout_s / 10,
        "broker_rebalance_timeout": kafka.rebalance_timeout_s,
        # Faust fetches nothing while its buffers are full, and aiokafka would leave the group for that,
        # and never come back: it asks for a fetch first, which only a member makes.
        "broker_max_poll_interval": _NEVER_S,
        "broker_request_timeout": max(90.0, kafka.session_timeout_s + 5, kafka.rebalance_timeout_s + 5),
        "worker_redirect_stdouts": False,
    }


_VERSION = "0.15.3"
_LOOK_FOR_ROOM_S = 0.05  # of what a paused buffer still holds, thousands of posts a second use a tenth
_AT_ONCE = 64  # records handed over before others get a turn: a millisecond or two


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # untyped base
    """The thread of the consumer: reads what is committed, and keeps track of its progress."""

    logger = driver.logger  # as its base: Faust's talk is bounded by its name
    progress: FetchProgress | None = None

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust ties this to its own transactions, which are not used. An aborted record was never accepted.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust passes no other option
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        self.progress = FetchProgress(self._consumer)
        self._consumer._fetcher.on_reset = self._tell_reset  # noqa: SLF001 - the one of pipeline.fetching

    async def _fetch_records(self, *args: Any, **options: Any) -> Any:
        try:
            records = await super()._fetch_records(*args, **options)
        except CorruptRecordException as error:
            raise ClusterError(
                f"a batch of the input topic cannot be read ({error}); docs/operations.md tells how to pass it"
            ) from error
        if self.progress is not None:
            self.progress.fetched(records)
        return records

    async def committable(self, acknowledged: Mapping[Any, int], first: Mapping[Any, int]) -> Any:
        if self.progress is None or self.should_stop or self.crashed:
            return {}  # nobody would answer
        return await self.call_thread(self._committable, self.progress, dict(acknowledged), dict(first))

    def _committable(
        self, progress: FetchProgress, acknowledged: dict[Any, int], first: Mapping[Any, int]
    ) -> Any:
        progress.require_taken(first)
        return progress.committable(acknowledged)

    async def seek_to_committed(self) -> Any:
        return await self.call_thread(self._seek_to_committed)

    async def _seek_to_committed(self) -> Any:
        committed = await self._consumer.seek_to_committed()
        if self.progress is not None:  # aiokafka leaves a partition without a commit where it stands
            for partition, offset in self.progress.uncommitted(committed).items():
                self._consumer._fetcher.seek_to(partition, offset)  # noqa: SLF001 - as aiokafka's own seek does
        return committed

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        if self.assignment().isdisjoint(offsets):
            return False  # revoked meanwhile; aiokafka refuses to commit nothing, and Faust ends for that
        return bool(await super()._commit(offsets))

    def _tell_reset(self, partition: Any, wanted: int, found: int) -> None:
        if self.progress is not None:
            self.progress.reset(partition, cut=found < wanted)
        self.parent_loop.call_soon_threadsafe(self.consumer.position_reset, partition, wanted, found)


class _Consumer(driver.Consumer):  # type: ignore[misc]  # untyped base
    """Faust's consumer, with an account of our own of what may be committed.

    The window acknowledges in offset order. So the last acknowledged record of a partition stands
    for all before it, and what Faust works out from heads and gaps is not needed.
    """

    logger = driver.logger

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._acknowledged: dict[Any, int] = {}
        self._first: dict[Any, int] = {}
        self.delivery_count = DeliveryCount()
        self._in_force: object | None = None  # the assignment; none in a rebalance
        self.resets: Counter[Partition] = Counter()  # how often each was set back to an earlier offset

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: Any, record: Any) -> Any:
        place = record.topic, record.partition
        message = super()._to_message(tp, record)
        message.number = self.delivery_count.give(place, record.offset)
        if cuts := self._thread.progress.cuts_at_fetch.get(place):
            message.cuts = cuts  # as of the fetch: what stood in a buffer when the log was cut is read again
        return message

    async def _drain_messages(self, fetcher: Any) -> None:
        # Faust's own makes two tasks of every record, drops what it meets below the committed offset after a log was
        # cut, lists every offset that a partition lacks, and looks for room once a second.
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as Faust's own asks
                waits = bool(self._buffered_partitions)
                if waits and not self._get_active_partitions():
                    await asyncio.sleep(_LOOK_FOR_ROOM_S)
                    continue
                await asyncio.sleep(0)
                handed = 0
                async for _, message in self.getmany(timeout=_LOOK_FOR_ROOM_S if waits else 1.0):
                    await self.callback(message)
                    handed += 1
                    if handed % _AT_ONCE == 0:
                        await asyncio.sleep(0)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    def track(self, message: Any) -> bool:
        """Note a record as handed to the flow; False if it was fetched before a rebalance, or in one.

        Raises:
            ClusterError: Records before it were dropped.
        """
        if not self.app.flow_control.is_active() or message.generation_id != self.app.consumer_generation_id:
            return False
        self.delivery_count.take((message.topic, message.partition), message.number)
        self._unacked_messages.add(message)
        return True

    def ack(self, message: Any) -> bool:
        message.acked = True
        self._unacked_messages.discard(message)
        self._acknowledged[message.tp] = max(self._acknowledged.get(message.tp, 0), message.offset + 1)
        self._first.setdefault(message.tp, message.offset)
        notify(self._waiting_for_ack)
        return True

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        while await super().maybe_wait_for_commit_to_finish():
            pass  # what was acknowledged since that one began is not in it; Faust would leave it at that
        return False

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        del topics, start_new_transaction
        reached = await self._thread.committable(self._acknowledged, self._first)
        due = {tp: offset for tp, offset in reached.items() if offset != self._committed_offset[tp]}
        if not due or not await self._commit(due):
            return False
        self._committed_offset.update(due)
        return True

    def _stop_at_rebalance(self) -> None:
        # Faust does so only where something is revoked. A member that had nothing would read on while what it is assigned
        # next is being sought, and Faust clears the stream's buffer after that: behind what the flow has taken already.
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()

    async def perform_seek(self) -> None:
        sought = self._in_force
        await super().perform_seek()
        if sought is None or sought is not self._in_force:
            raise RebalanceAgain  # or who waits for this resumes the flow, in the midst of the next rebalance

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._stop_at_rebalance()
        self._in_force = None
        await super().on_partitions_revoked(revoked)  # drains and commits
        self._acknowledged.clear()
        self._first.clear()

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        self._stop_at_rebalance()
        self._in_force = object()
        self.delivery_count.begin()
        await super().on_partitions_assigned(assigned, generation_id)

    def position_reset(self, partition: Any, wanted: int, found: int) -> None:
        """The brokers no longer had, or never had, the record that was to be read next."""
        if found < wanted:
            self.resets[partition.topic, partition.partition] += 1
            self._acknowledged.pop(partition, None)
            self._first.pop(partition, None)
        self.app.position_reset((partition.topic, partition.partition), wanted, found)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Not asked: it compares two different clocks and calls healthy partitions stalled."""


class _Transport(driver.Transport):  # type: ignore[misc]  # untyped base
    Consumer = _Consumer


class FaustApp(faust.App):  # type: ignore[misc]  # untyped base
    """Faust's app with our own consumer, and our own end to its wait for held events."""

    logger = logging.getLogger("faust.app")  # not this module's: Faust's talk is bounded by its name
    before_wait: Callable[[], Awaitable[None]]
    position_reset: Callable[[Partition, int, int], None]
    buffer_bytes: int

    def _create_directories(self) -> None:
        """None: they are for tables, and a worker needs no place to write."""

    def FlowControlQueue(self, **options: Any) -> StreamBuffer:  # noqa: N802 - Faust's own name
        """The stream's queue, bounded by bytes as well."""
        return StreamBuffer(flow_control=self.flow_control, most_bytes=self.buffer_bytes, **options)

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        # Called while stopping and while partitions are revoked, after the flow was suspended.
        await self.before_wait()
        await super()._consumer_wait_empty(consumer, logger)

    @property
    def coordinator_fault(self) -> str | None:
        """The name of what ended the task that keeps this member in its group; None while that lives."""
        return coordinator_fault(self.consumer._thread._consumer)  # noqa: SLF001 - no public way

    async def places(self, *, within_s: float) -> dict[Partition, ReadPlace]:
        """Where each assigned partition is read next, and where it ends.

        Raises:
            BrokersAwayError: The brokers did not say so in time.
        """
        # Past Faust's queue of calls to its thread: a look must not wait behind what it looks at.
        thread = self.consumer._thread  # noqa: SLF001 - no public way
        looking = thread.progress.places(within_s=within_s)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(looking, thread.thread_loop))


def make_app(settings: Settings) -> FaustApp:
    """Faust's app for these settings; it needs a subscription to the input topic, and its two callbacks."""
    app = FaustApp(
        settings.kafka.group,
        agent_supervisor=CrashingSupervisor,  # a restarted agent would step over what it held
        broker_credentials=_credentials(settings.kafka.security),
        **faust_options(settings.kafka),
    )
    app.buffer_bytes = settings.window.bytes // 4  # of the longest posts, a micro-batch or so ahead
    return app


def _credentials(security: SecuritySettings) -> Any:
    """The security settings as Faust takes them; None for a listener that asks for nothing."""
    context = tls_context(security)
    if security.sasl:
        return faust.SASLCredentials(
            username=security.username,
            password=sasl_password(security),
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)


def check_faust() -> None:
    """Assert what this module relies on.

    Raises:
        StartError: Another version of Faust, or one without its compiled stream iterator.
    """
    if faust.__version__ != _VERSION:
        raise StartError(f"faust-streaming is {faust.__version__}; install faust-streaming=={_VERSION}")
    if faust.streams._CStreamIterator is None:  # noqa: SLF001 - the only way to tell
        # Its pure Python twin acknowledges events that it skips after a rebalance: they would be lost.
        raise StartError(
            "faust-streaming runs without its compiled extension; unset NO_CYTHON and reinstall it from a wheel"
        )
