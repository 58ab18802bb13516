"""The source: records of the input topic, as one member of the consumer group."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.faust_app import FaustApp, FaustDelivery, check_faust, make_app
from sluicegate.pipeline.kafka.fetching import BrokersAwayError, StreamBuffer, install
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.lag import Lag, ReadPlace, StallDetection
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.records import Delivery, Holder, Partition
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


_log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 5.0
_ANSWER_S = 5.0
_AT_ONCE = 64  # records taken before others get a turn: their decoding takes a millisecond or two


class Source:
    """Feeds the input topic to a consumer of deliveries, as one member of the group.

    Args:
        settings: All settings.
        window: Where deliveries are held; opened again when partitions are assigned.
        instruments: Gets the hold while the brokers are away, and the count of missed records.
        consume: Gets the deliveries and carries them; ends only by being cancelled.
        drain: Finishes or releases everything held, within its own deadline.
        look_every_s: How often the membership and the progress are looked at.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        window: Holder,
        instruments: Instruments,
        consume: Callable[[AsyncIterator[Delivery]], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._settings = settings
        self._window = window
        self._instruments = instruments
        self._clock = instruments.clock.monotonic
        self._consume = consume
        self._drain = drain
        self._look_every_s = look_every_s
        self._app: FaustApp
        self._joined = False
        self._partitions = 0
        self._coordinator_fault: str | None = None
        self._fault: Exception | None = None
        self._stall_detection = StallDetection(settings.stall_after_s)
        self._passing: Delivery | None = None
        """What the flow got last, until it asks for the next."""
        self._taken: dict[Partition, int] = {}
        self._lag = Lag(fresh_s=look_every_s + _ANSWER_S)
        self._places: dict[Partition, ReadPlace] = {}
        """Of the last look that the brokers answered in this assignment."""
        self._resets: set[tuple[Partition, int, int]] = set()
        """Resets told of in this assignment: where from, where to."""
        self._answered_at: float | None = None

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

    @property
    def stalled(self) -> list[str]:
        """What stands still though records wait and nothing declared explains it, at the last look."""
        stalled = [f"{topic}/{number}" for topic, number in self._stall_detection.partitions]
        silent_s = 0.0 if self._answered_at is None else self._clock() - self._answered_at
        if silent_s > self._settings.stall_after_s + _ANSWER_S:
            stalled.append("consumer")  # its thread does not even say where it is
        return stalled

    @property
    def lag_s(self) -> float:
        """The age of the oldest post without an answer in the partitions assigned: an estimate (:class:`Lag`)."""
        now, utc_ms = self._clock(), self._instruments.clock.utc().timestamp() * 1000
        return self._lag.seconds(self._progress(self._places), self._held(), now=now, utc_ms=utc_ms)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop`` is set, then drain, commit and leave the group.

        Raises:
            StartError: Faust is not the one this was written against.
            Exception: What made Faust, the consumer of deliveries or the group membership fail.
        """
        check_faust()
        install()
        self._app = app = self._make_app()
        app.finalize()
        watchdog = asyncio.create_task(
            self._watch()
        )  # from before the start, which waits for the consumer's thread
        try:
            await app.start()
        except BaseException:
            watchdog.cancel()
            raise
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

    def _make_app(self) -> FaustApp:
        app = make_app(self._settings)
        app.before_wait = self._drain
        app.position_reset = self._position_reset
        topic = app.topic(
            self._settings.topics.posts, key_serializer="raw", value_serializer="raw", value_type=bytes
        )

        async def path(stream: Any) -> None:
            try:
                await self._consume(self._deliveries(stream.channel.queue))
            except Exception as error:  # noqa: BLE001 - raised again, without what it says
                # Faust logs what ends an agent with its message, which may quote a post.
                self._fault = error
                raise RuntimeError(frames(error)) from None

        app.agent(topic, name="sluicegate.path")(path)

        async def assigned(_app: Any, partitions: set[Any], **_kwargs: Any) -> None:
            self._joined = True
            self._partitions = len(partitions)  # rebalances are eager: this is the whole assignment
            self._taken.clear()
            self._resets.clear()
            self._places = {}
            self._lag.assigned(((one.topic, one.partition) for one in partitions), self._clock())
            self._window.reopen()

        app.on_partitions_assigned.connect(assigned, weak=False)
        return app

    async def _deliveries(self, buffer: StreamBuffer) -> AsyncIterator[Delivery]:
        # Past Faust's stream, which acknowledges by itself, and takes three turns of the loop for each event.
        while True:
            try:
                events = await buffer.get_some(_AT_ONCE)
            except StopAsyncIteration:  # how Faust ends a stream
                return
            for event in events:
                if not self._app.consumer.track(event.message):
                    continue  # it is read again from the commit
                delivery = FaustDelivery(self._app, event)
                self._taken[delivery.partition] = delivery.offset + 1
                self._lag.took(delivery)
                self._passing = delivery
                yield delivery
                self._passing = None
            await asyncio.sleep(0)

    def _position_reset(self, partition: Partition, wanted: int, found: int) -> None:
        if (partition, wanted, found) in self._resets:
            return  # a second fetch was under way from the same place: told and counted already
        self._resets.add((partition, wanted, found))
        where = {"topic": partition[0], "partition": partition[1], "from_offset": wanted, "to_offset": found}
        if found > wanted:
            self._instruments.metrics.records_missed.labels(partition[0]).inc(found - wanted)
            _log.error("records_missed", records=found - wanted, **where)
        else:
            _log.error("log_cut", **where)

    async def _watch(self) -> None:
        """Look at the membership and the progress; raise once the group coordinator's task has died."""
        declare = None
        try:
            with ExitStack() as away:
                while True:
                    self._answered_at = self._clock()
                    await asyncio.sleep(self._look_every_s)
                    self._require_membership()
                    if not self._joined:
                        continue
                    asked_at = self._clock()
                    try:
                        places = await self._app.places(within_s=_ANSWER_S)
                    except BrokersAwayError as error:
                        declare = declare or away.enter_context(self._instruments.holds.waiter("input"))
                        declare(f"the brokers do not say where the input topic ends ({error})")
                        places = {}
                    else:
                        away.close()
                        declare = None
                        self._places = places
                        self._lag.look(self._progress(places), self._held(), asked_at)
                    self._look(places)
        finally:
            self._answered_at = None

    def _require_membership(self) -> None:
        self._coordinator_fault = self._app.coordinator_fault
        if self._coordinator_fault is not None:
            raise ClusterError(
                f"this member of the group is dead ({self._coordinator_fault}); "
                "start the worker again, and ask `sluicegate check` for a right that is missing"
            )

    def _look(self, places: dict[Partition, ReadPlace]) -> None:
        # A flow that asks for nothing has a full window, or one whose oldest post tells of a stall.
        at_work = self._passing is not None and self._window.posts > 0
        if self._instruments.holds or at_work or self._app.rebalancing:
            self._stall_detection.excuse()
            return
        seen = self._progress(places)
        for topic, number in self._stall_detection.look(seen, self._clock()):
            _log.error("partition_stalled", topic=topic, partition=number, **asdict(seen[topic, number]))

    def _progress(self, places: dict[Partition, ReadPlace]) -> dict[Partition, ReadPlace]:
        """The same places, with how far the stream and the flow have come by now."""
        return {
            one: replace(
                place,
                handed=self._app.consumer.delivery_count.reached.get(one, 0),
                taken=self._taken.get(one, 0),
            )
            for one, place in places.items()
        }

    def _held(self) -> dict[Partition, Delivery]:
        """The oldest delivery held of each partition, or the one that waits for room."""
        passing = self._passing
        return ({} if passing is None else {passing.partition: passing}) | self._window.heads()
