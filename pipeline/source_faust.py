"""The source: records of the input topic through Faust. The one module that imports it.

Faust runs here as a library, under our own loop and signals. Three of its habits are mended at
this border (docs/adr/0003): it commits past a held head, so acknowledgements arrive in order
from the window; its wait for held events has no deadline, so ours comes first; and it never
looks at the group coordinator's errors, so a watchdog does.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from typing import TYPE_CHECKING, Any

import faust
import faust.streams
import structlog
from mode import CrashingSupervisor

from sluicegate.pipeline.credentials import sasl_password, tls_context
from sluicegate.pipeline.errors import ClusterError, StartError
from sluicegate.pipeline.logs import frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sluicegate.pipeline.settings import SecuritySettings, Settings
    from sluicegate.pipeline.window import Delivery, Partition

_log = structlog.get_logger(__name__)

_WATCH_INTERVAL_S = 5.0
_VERSION = "0.15.3"


class FaustDelivery:
    """One event of Faust's stream, as the window wants it."""

    __slots__ = (
        "_app",
        "_event",
        "_generation",
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
        self.offset: int = message.offset
        self.key: bytes | None = message.key
        self.value: bytes | None = message.value
        self.headers: Sequence[tuple[str, bytes | None]] = tuple(message.headers or ())
        self.timestamp_ms: int | None = None if message.timestamp is None else round(message.timestamp * 1000)

    @property
    def is_current(self) -> bool:
        """False after a rebalance, even one that gave the partition back: it is read again from the commit."""
        return bool(self._app.consumer_generation_id == self._generation)

    def acknowledge(self) -> None:
        """Let Faust commit past this record."""
        event, self._event = self._event, None
        if event is not None:
            event.ack()

    def release(self) -> None:
        """Take the record off Faust's list of those to wait for, without acknowledging it."""
        event, self._event = self._event, None
        if event is not None:
            self._app.consumer._unacked_messages.discard(event.message)  # noqa: SLF001 - its wait has no other end


class _App(faust.App):  # type: ignore[misc]  # untyped base
    """Faust's app with our own end to its wait for held events."""

    logger = logging.getLogger("faust.app")  # not this module's: Faust's talk is bounded by its name
    before_wait: Callable[[], Awaitable[None]]

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        # Called while stopping and while partitions are revoked, after the flow was suspended.
        await self.before_wait()
        await super()._consumer_wait_empty(consumer, logger)


class FaustSource:
    """Feeds the input topic to a consumer of deliveries, as one member of the group.

    Args:
        settings: All settings.
        consume: Gets the deliveries and carries them; ends only by being cancelled.
        drain: Finishes or releases everything held, within its own deadline.
        reopen: Called when partitions are assigned: deliveries may be taken again.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consume: Callable[[AsyncIterator[Delivery]], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
        reopen: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._consume = consume
        self._drain = drain
        self._reopen = reopen
        self._app: Any = None
        self._joined = False
        self._partitions = 0
        self._coordinator_fault: str | None = None
        self._fault: Exception | None = None

    @property
    def joined(self) -> bool:
        """True once the group gave this member its assignment, which may be empty."""
        return self._joined

    @property
    def coordinator_fault(self) -> str | None:
        """What the watchdog found wrong with the group membership, if anything."""
        return self._coordinator_fault

    @property
    def partitions(self) -> int:
        """Partitions assigned now."""
        return self._partitions

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop`` is set, then drain, commit and leave the group.

        Raises:
            StartError: Faust is not the one this module was written against.
            Exception: What made Faust, the consumer of deliveries or the group membership fail.
        """
        check_faust()
        with tempfile.TemporaryDirectory(prefix="sluicegate-faust-") as data_folder:
            self._app = app = self._make_app(data_folder)
            app.finalize()
            await app.start()
            watchdog = asyncio.create_task(self._watch())
            ends = [asyncio.create_task(stop.wait()), asyncio.create_task(app._crashed.wait()), watchdog]  # noqa: SLF001 - no public way to await a crash
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await app.stop()
        if watchdog.done() and not watchdog.cancelled() and (fault := watchdog.exception()) is not None:
            raise fault
        if self._fault is not None:
            raise self._fault
        if app.crash_reason is not None:
            raise app.crash_reason

    def _make_app(self, data_folder: str) -> Any:
        kafka = self._settings.kafka
        app = _App(
            kafka.group,
            broker=[f"aiokafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
            store="memory://",
            datadir=data_folder,
            web_enabled=False,
            topic_allow_declare=False,  # no topic of Faust's own
            topic_disable_leader=True,
            table_standby_replicas=0,
            consumer_auto_offset_reset="earliest",  # a new group must not skip what is there
            agent_supervisor=CrashingSupervisor,  # a restarted agent would step over what it held
            stream_wait_empty=True,
            broker_commit_interval=kafka.commit_interval_s,
            broker_session_timeout=kafka.session_timeout_s,
            broker_heartbeat_interval=kafka.session_timeout_s / 10,
            broker_rebalance_timeout=kafka.rebalance_timeout_s,
            broker_request_timeout=max(90.0, kafka.session_timeout_s + 5, kafka.rebalance_timeout_s + 5),
            worker_redirect_stdouts=False,
            broker_credentials=_credentials(kafka.security),
        )
        app.before_wait = self._drain
        topic = app.topic(
            self._settings.topics.posts, key_serializer="raw", value_serializer="raw", value_type=bytes
        )

        async def path(stream: Any) -> None:
            try:
                await self._consume(_deliveries(app, stream))
            except Exception as error:  # noqa: BLE001 - raised again, without what it says
                # Faust logs what ends an agent with its message, which may quote a post.
                self._fault = error
                raise RuntimeError(frames(error)) from None

        app.agent(topic, name="sluicegate.path")(path)

        async def assigned(_app: Any, partitions: set[Any], **_kwargs: Any) -> None:
            self._joined = True
            self._partitions = len(partitions)  # rebalances are eager: this is the whole assignment
            self._reopen()

        app.on_partitions_assigned.connect(assigned, weak=False)
        return app

    async def _watch(self) -> None:
        """Raise once the group coordinator's task has died: Faust itself would idle for ever."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            consumer = self._app.consumer._thread._consumer  # noqa: SLF001 - pinned version
            if self._app.rebalancing or consumer is None:
                continue
            coordinator = consumer._coordinator  # noqa: SLF001 - pinned version
            if coordinator._coordination_task.done() or coordinator._pending_exception is not None:  # noqa: SLF001
                self._coordinator_fault = type(coordinator._pending_exception).__name__  # noqa: SLF001
                raise ClusterError(
                    f"this member of the group is dead ({self._coordinator_fault}); "
                    "start the worker anew, and ask `sluicegate check` for a right that is missing"
                )


async def _deliveries(app: Any, stream: Any) -> AsyncIterator[Delivery]:
    async for event in stream.noack().events():
        yield FaustDelivery(app, event)


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
