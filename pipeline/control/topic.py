"""The control topic: how trips and resets of breakers, and of screens' switches, reach every worker.

A thread of its own reads the topic from the beginning, then follows it, and tells what trips here.
It never stands in a post's way: a topic that is missing, or that this user may not read, leaves
each worker with breakers of its own, and without its screen, until it can be had.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Self

import structlog

from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.facts import (
    BreakerFact,
    Death,
    Fact,
    Learner,
    Lease,
    Lockable,
    Poison,
    ScreenFact,
    ServerFacts,
    read_fact,
)
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


_log = structlog.get_logger(__name__)

_READ_S = 0.2  # a trip here waits no longer to be told
_FETCH_WAIT_MS = 500  # nearly always idle: many workers follow it, and none should cost the brokers much
_FIRST_LOOK_S = 10.0  # a worker's start waits no longer for what is known of breakers
_AGAIN_S = 5.0
_LOOK_EVERY_S, _ANSWER_S = 3.0, 3.0  # what was written to a partition that nobody reads is heard so late
_LEAVE_S = 2.0

_SIGNED = b"candidate "
Change = Fact | bytes
"""A fact, or the key of one that is to be forgotten."""


def read_changes(records: Iterable[TopicRecord]) -> tuple[list[Change], int]:
    """What records of the control topic say of breakers and switches, and how many are not what they claim."""
    changes: list[Change] = []
    refused = 0
    for record in records:
        if is_signed(record.key):
            continue
        if record.value is None:
            if record.key is not None:
                changes.append(record.key)
            continue
        try:
            fact = read_fact(record.key, record.value)
        except ValueError:  # the topic is shared: nobody's record may do harm
            refused += 1
        else:
            if fact is not None:
                changes.append(fact)
    return changes, refused


def is_signed(key: bytes | None) -> bool:
    """Whether a record has the key of a signed fact about a candidate. Who follows candidates reads these."""
    return key is not None and key.startswith(_SIGNED)


class ControlTopic:
    """Carries facts between what trips here and the control topic. Use as an async context manager.

    Args:
        settings: The cluster and the topic.
        breaker: Learns and announces; called in the event loop only.
        metrics: Show whether the topic is followed.
        switch: The same, for screens.
        servers: The same, for engines' servers; None where there are none.
        signed: Gets the values of signed facts about candidates, in the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        breaker: Learner[BreakerFact],
        metrics: Metrics,
        switch: Lockable[ScreenFact] | None = None,
        servers: ServerFacts | None = None,
        signed: Callable[[bytes], None] | None = None,
    ) -> None:
        self._kafka = settings.kafka
        self._topic = settings.topics.control
        self._breaker = breaker
        self._switch = switch
        self._servers = servers
        self._signed = signed
        self._metrics = metrics
        self._outbox: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._producer: Producer | None = None
        self._producer_ended = False
        self._send_again_at = 0.0
        self._stopping = threading.Event()
        self._looked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="control-topic", daemon=True)
        self._incarnation: str | None = None
        self.state = "not read yet"
        """``followed``, or why it is not; for people."""

    async def __aenter__(self) -> Self:
        """Begin, and wait a while for what is known already."""
        self._loop = asyncio.get_running_loop()
        self._breaker.announce_to(self._outbox.put)
        if self._switch is not None:
            self._switch.announce_to(self._outbox.put)
            self._switch.follow(followed=False)
        if self._servers is not None:
            self._servers.announce_to(self._outbox.put)
        self._thread.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_S):
                await self._looked.wait()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 2 * _LEAVE_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except PipelineError as error:
                self._tell(self._lost, str(error))
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end what workers share
                self._tell(self._lost, f"a fault of Sluicegate's own ({frames(error)})")
            again_at = time.monotonic() + _AGAIN_S
            while time.monotonic() < again_at and not self._stopping.wait(_READ_S):
                self._send()
        self._send()
        if self._producer is not None:
            self._producer.flush(_LEAVE_S)

    def _follow(self) -> None:
        with TopicReader(
            self._kafka, [self._topic], start="beginning", fetch_wait_ms=_FETCH_WAIT_MS
        ) as reader:
            caught_up, look_at = False, time.monotonic()
            while not self._stopping.is_set():
                self._send()
                if time.monotonic() >= look_at:
                    reader.look(within_s=_ANSWER_S)
                    look_at = time.monotonic() + _LOOK_EVERY_S
                    if caught_up and not reader.at_end:
                        caught_up = False
                        self._tell(self._lost, f"topic {self._topic} has new partitions; they are being read")
                if records := reader.read(_READ_S):
                    changes, refused = read_changes(records)
                    self._metrics.control_refused.inc(refused)
                    self._tell(self._apply, changes)
                    for record in records:
                        if self._signed is not None and is_signed(record.key) and record.value is not None:
                            self._tell(self._signed, record.value)
                if not caught_up and reader.at_end:
                    caught_up = True
                    self._tell(self._found, reader.incarnation(self._topic))

    def _send(self) -> None:
        """Tell what tripped here. What is not delivered is told again; twice is once, the key is the same."""
        if self._producer is not None:
            self._producer.poll()
        if self._producer is not None and self._producer_ended:
            self._producer.close(_LEAVE_S)  # what it still had is put back
            self._producer, self._producer_ended = None, False
        if time.monotonic() < self._send_again_at:
            return
        for _ in range(self._outbox.qsize()):  # what fails is put back, and waits
            if time.monotonic() < self._send_again_at:
                break
            self._produce(self._outbox.get_nowait())

    def _produce(self, fact: Fact) -> None:
        def failed(why: str) -> None:
            _log.warning("trip_not_shared", kind=fact.kind, place=fact.place[0], topic=self._topic, why=why)
            self._send_again_at = time.monotonic() + _AGAIN_S
            # Who still wants a lease claims it again. A late claim would keep all out for nothing.
            if not isinstance(fact, Lease):
                self._outbox.put(fact)

        def reported(outcome: Placed | Refused) -> None:
            if isinstance(outcome, Refused):
                self._producer_ended = self._producer_ended or outcome.fatal
                failed(outcome.reason)

        if self._producer is None:  # made when first needed: most workers never tell anything
            try:
                self._producer = Producer(self._kafka)
            except Exception as error:  # noqa: BLE001 - a file or a token is away: what tripped must not be forgotten
                failed(frames(error))
                return
        value, key = fact.encode(), fact.key
        if not self._producer.send(self._topic, value, key, report=reported, partition=SHARED_PARTITION):
            failed("_QUEUE_FULL")

    def _tell(self, what: Callable[..., None], *said: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the process is about to
                self._loop.call_soon_threadsafe(what, *said)

    def _apply(self, changes: Sequence[Change]) -> None:
        # In their order, but together what comes together: clearing a topic gives thousands at once.
        for are_keys, together in groupby(changes, key=lambda one: isinstance(one, bytes)):
            if not are_keys:
                self._learn([one for one in together if not isinstance(one, bytes)])
                continue
            keys = [one for one in together if isinstance(one, bytes)]
            self._breaker.forget(keys)
            if self._switch is not None:
                self._switch.forget(keys)

    def _learn(self, facts: Sequence[Fact]) -> None:
        if trips := [fact for fact in facts if isinstance(fact, BreakerFact)]:
            self._metrics.control_refused.inc(self._breaker.learn(trips))
        turns = [fact for fact in facts if isinstance(fact, ScreenFact)]
        if turns and self._switch is not None:
            self._metrics.control_refused.inc(self._switch.learn(turns))
        if self._servers is not None:
            self._servers.learn([fact for fact in facts if isinstance(fact, Poison | Death | Lease)])

    def _found(self, incarnation: str | None) -> None:
        before, self._incarnation = self._incarnation, incarnation or self._incarnation
        if before is not None and before != self._incarnation:
            self._tell_again()
        self.state = "followed"
        if self._switch is not None:
            self._switch.follow(followed=True)
        if self._servers is not None:
            self._servers.follow(followed=True)
        self._metrics.control_followed.set(1)
        _log.info("control_topic_followed", topic=self._topic)
        self._looked.set()

    def _tell_again(self) -> None:
        """Tell a topic made again what is known: it must not die with the one before."""
        facts: list[BreakerFact | ScreenFact] = [*self._breaker.newest]
        facts += self._switch.newest if self._switch is not None else []
        for fact in facts:
            self._outbox.put(fact)

    def _lost(self, why: str) -> None:
        if self.state != why:
            _log.warning("control_topic_not_followed", why=why)
        self.state = why
        if self._switch is not None:
            self._switch.follow(followed=False)  # who throws it meanwhile is not heard
        if self._servers is not None:
            self._servers.follow(followed=False)
        self._metrics.control_followed.set(0)
        self._looked.set()
