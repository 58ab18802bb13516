"""The source: records of the input topic, as one member of the consumer group.

Faust runs here for what it is good at: an agent that takes chunks off a channel, its supervision and its life cycle.
Kafka is :class:`GroupConsumer`'s (docs/adr/0018).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import faust
import structlog
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException
from mode import CrashingSupervisor

from sluicegate.pipeline.errors import ClusterError, SettingsError
from sluicegate.pipeline.kafka.assignment import Chunk, Reset
from sluicegate.pipeline.kafka.consumer import GroupConsumer
from sluicegate.pipeline.kafka.onlooker import Onlooker
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.lag import Lag, ReadPlace, StallDetection
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.records import Delivery, Holder, Partition
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 5.0
_ANSWER_S = 5.0
_BUFFER_SHARE = 4  # of the window's posts and bytes: of the longest posts, a micro-batch or so ahead


class _WithoutKafka(faust.App.BootStrategy):  # type: ignore[misc]  # untyped base
    """Starts agents and nothing of Faust's own Kafka clients."""

    enable_kafka = False
    enable_web = False


class _App(faust.App):  # type: ignore[misc]  # untyped base
    """Faust's app without Kafka."""

    BootStrategy = _WithoutKafka
    logger = logging.getLogger("faust.app")  # not this module's: Faust's talk is bounded by its name

    async def on_first_start(self) -> None:
        """Make no folders: they are for tables, and a worker needs no place to write."""

    async def on_start(self) -> None:
        """Make no consumer: Faust's own hook makes one to name it."""


class Source:
    """Feeds the input topic to a consumer of deliveries, as one member of the group.

    Args:
        settings: All settings.
        window: Where deliveries are held; opened again when partitions are assigned.
        instruments: Gets the hold while the brokers are away, and the count of missed records.
        consume: Gets the deliveries by the chunk and carries them; ends only by being cancelled.
        drain: Finishes or releases everything held, within its own deadline.
        look_every_s: How often the progress is looked at.
        make_client: Makes the group's client from librdkafka's settings.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        window: Holder,
        instruments: Instruments,
        consume: Callable[[AsyncIterator[Sequence[Delivery]]], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
        look_every_s: float = _LOOK_EVERY_S,
        make_client: Callable[..., Any] = Client,
    ) -> None:
        self._settings = settings
        self._window = window
        self._instruments = instruments
        self._clock = instruments.clock.monotonic
        self._consume = consume
        self._drain = drain
        self._look_every_s = look_every_s
        self._declare_login = instruments.holds.declarer("login")
        self._consumer = GroupConsumer(
            settings.kafka,
            settings.topics.posts,
            most_records=max(1, settings.window.posts // _BUFFER_SHARE),
            most_bytes=settings.window.bytes // _BUFFER_SHARE,
            listener=self,
            make_client=make_client,
        )
        self._channel: Any = None
        self._may_take = asyncio.Event()
        self._joined = False
        self._without_group = ExitStack()
        self._fault: asyncio.Future[None]
        self._stall_detection = StallDetection(settings.stall_after_s)
        self._passing: Chunk | None = None
        """What the flow got last, until it asks for the next."""
        self._lag = Lag(fresh_s=look_every_s + _ANSWER_S)
        self._ends: dict[Partition, int] = {}
        """Of the last look that the brokers answered."""

    @property
    def joined(self) -> bool:
        """True once the group gave this member its assignment, which may be empty."""
        return self._joined

    @property
    def partitions(self) -> int:
        """Partitions assigned now."""
        return len(self._consumer.assignments)

    @property
    def stalled(self) -> list[str]:
        """What stands still though records wait and nothing declared explains it, at the last look."""
        stalled = [f"{topic}/{number}" for topic, number in self._stall_detection.partitions]
        if self._consumer.silent_s > self._settings.stall_after_s + _ANSWER_S:
            stalled.append("consumer")  # its thread does not even ask for records
        return stalled

    @property
    def lag_s(self) -> float:
        """The age of the oldest post without an answer in the partitions assigned: an estimate (:class:`Lag`)."""
        now, utc_ms = self._clock(), self._instruments.clock.utc().timestamp() * 1000
        return self._lag.seconds(self._places(), self._held(), now=now, utc_ms=utc_ms)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop`` is set, then drain, commit and leave the group.

        Raises:
            ClusterError: This member cannot go on; the message says why.
            Exception: What made Faust or the consumer of deliveries fail.
        """
        self._fault = asyncio.get_running_loop().create_future()
        app = self._make_app()
        await app.start()
        app.flow_control.resume()  # Faust's own consumer would, with its first assignment
        ends: list[asyncio.Future[Any]] = []
        try:
            left = self._consumer.start()
            ends = [
                left,
                self._fault,
                asyncio.ensure_future(self._watch(app)),
                asyncio.ensure_future(stop.wait()),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            # It hands over, commits and leaves. While the group waits for a member that has died, nobody can leave it: who
            # started this ends it with the budget of the drain.
            self._consumer.stop()
            await asyncio.wait([left])
        finally:
            for end in ends:
                end.cancel()
            self._without_group.close()
            await app.stop()
        # The flow's own fault first: the others follow from it.
        for end in (self._fault, *ends):
            if end.done() and not end.cancelled() and (fault := end.exception()) is not None:
                raise fault

    def _make_app(self) -> Any:
        app = _App(
            self._settings.kafka.group,
            agent_supervisor=CrashingSupervisor,  # a restarted agent would step over what it held
            store="memory://",
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        # The consumer bounds what stands here. Where a put waits for room, another may pass it.
        self._channel = app.channel(maxsize=0)

        async def path(stream: Any) -> None:
            try:
                await self._consume(self._chunks(stream.channel))
            except Exception as error:  # noqa: BLE001 - told to who waits, without what it says
                # Faust logs what ends an agent with its message, which may quote a post.
                if not self._fault.done():
                    self._fault.set_exception(error)
                raise RuntimeError(frames(error)) from None

        app.agent(self._channel, name="sluicegate.path")(path)
        app.finalize()
        return app

    async def _chunks(self, channel: Any) -> AsyncIterator[Sequence[Delivery]]:
        # Past Faust's stream, which would make a consumer of Faust's own to acknowledge to.
        async for event in channel:
            chunk = event.value
            await self._may_take.wait()
            self._consumer.took(chunk)
            assignment = chunk.assignment
            if not assignment.is_current:
                continue  # it is read again, here or elsewhere
            if chunk.number != assignment.chunks_taken + 1:
                topic, number = assignment.partition
                raise ClusterError(
                    f"records of {topic}/{number} before offset {chunk.deliveries[0].offset} were dropped on their way; "
                    "nothing was committed past them: start the worker again, and they are read again"
                )
            assignment.chunks_taken = chunk.number
            assignment.taken = chunk.deliveries[-1].offset + 1
            self._lag.took(chunk.deliveries[-1])
            self._passing = chunk
            yield chunk.deliveries
            self._passing = None

    # What the consumer tells.

    async def hand_on(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks on the agent's channel."""
        for chunk in chunks:
            await self._channel.send(value=chunk)

    async def hand_over(self) -> None:
        """Take nothing more, and have everything that is held finished or given back."""
        self._may_take.clear()
        await self._drain()

    def assigned(self, partitions: Sequence[Partition], *, given: bool) -> None:
        """Take again, with these partitions."""
        self._joined = self._joined or given
        if given:
            self._without_group.close()
            self._instruments.metrics.rebalanced()
        self._lag.assigned(partitions, self._clock())
        self._window.reopen()
        self._may_take.set()

    def lost(self) -> None:
        """Say that this worker waits for the group: what it has in hand is answered, and nothing else is read."""
        self._joined = False
        declare = self._without_group.enter_context(self._instruments.holds.waiter("input"))
        declare("this worker was thrown out of its group, and waits to be taken in again")

    def was_reset(self, partition: Partition, reset: Reset) -> None:
        """Tell that a partition is read from another place; count what nobody can read any more."""
        where = {"topic": partition[0], "partition": partition[1]}
        places = {"from_offset": reset.wanted, "to_offset": reset.found}
        if reset.how == "missed":
            missed = reset.found - reset.wanted
            self._instruments.metrics.records_missed.labels(partition[0]).inc(missed)
            _log.error("records_missed", records=missed, **where, **places)
        else:
            _log.error("log_cut" if reset.how == "cut" else "topic_made_again", **where, **places)

    def login_told(self, reason: str | None) -> None:
        """Hold while the brokers refuse this worker's login."""
        self._declare_login(reason)

    # Looks at the progress.

    async def _watch(self, app: Any) -> None:
        """Look at the progress, at the topic, and at Faust."""
        onlooker = Onlooker(self._settings.kafka, self._settings.topics.posts)
        declare = None
        with ExitStack() as away:
            while True:
                await asyncio.sleep(self._look_every_s)
                if app.crashed:
                    raise app.crash_reason or ClusterError("Faust ended; start the worker again")
                asked_at, assignments = self._clock(), self._consumer.assignments
                try:
                    found = await asyncio.to_thread(onlooker.ask, list(assignments), within_s=_ANSWER_S)
                except (KafkaException, ClusterError, SettingsError) as error:  # the last: a file, or a token
                    why = error.args[0].name() if isinstance(error, KafkaException) else str(error)
                    declare = declare or away.enter_context(self._instruments.holds.waiter("input"))
                    declare(f"the brokers do not say where the input topic ends ({why})")
                    self._stall_detection.excuse()
                    continue
                away.close()
                declare = None
                self._ends, incarnation = found
                self._lag.look(self._places(), self._held(), asked_at)
                self._look()
                strangers = [
                    one
                    for one, assignment in assignments.items()
                    if incarnation is not None
                    and assignment.is_current
                    and assignment.incarnation != incarnation
                ]
                self._consumer.begin_again(strangers)

    def _look(self) -> None:
        # A flow that asks for nothing has a full window, or one whose oldest post tells of a stall.
        at_work = self._passing is not None and self._window.posts > 0
        if self._instruments.holds or at_work or self._consumer.rebalancing:
            self._stall_detection.excuse()
            return
        seen = self._places()
        for topic, number in self._stall_detection.look(seen, self._clock()):
            _log.error("partition_stalled", topic=topic, partition=number, **asdict(seen[topic, number]))

    def _places(self) -> dict[Partition, ReadPlace]:
        """How far each partition has come by now, beside where it ended at the last look."""
        assignments = self._consumer.assignments
        return {
            one: ReadPlace(
                assignments[one].position if assignments[one].is_current else None,
                end,
                handed=assignments[one].handed,
                taken=assignments[one].taken,
            )
            for one, end in self._ends.items()
            if one in assignments
        }

    def _held(self) -> dict[Partition, Delivery]:
        """The oldest delivery held of each partition, or the one that waits for room."""
        passing = self._passing
        waiting: dict[Partition, Delivery] = (
            {} if passing is None else {passing.assignment.partition: passing.deliveries[0]}
        )
        return waiting | self._window.heads()
