"""The publisher: events to their topics, delivered before anything is acknowledged.

A publish hands its result to the event loop once, not once per record.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog

from sluicegate.pipeline.errors import ClusterError, PublishError, StartError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.observe.holds import Holds
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


_log = structlog.get_logger(__name__)

_METADATA_S = 15.0
_QUEUE_FULL_PAUSE_S = 0.01  # a few linger.ms
_RETRY_FIRST_S, _RETRY_MOST_S = 0.5, 10.0


class Publisher:
    """The worker's producers. Use as an async context manager.

    Args:
        kafka: The cluster.
        holds: Told while a record cannot be delivered.
        flush_s: How long leaving may wait for what is under way, in seconds.
    """

    def __init__(self, kafka: KafkaSettings, holds: Holds, *, flush_s: float) -> None:
        self._kafka = kafka
        self._holds = holds
        self._flush_s = flush_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._producer = self._make_producer()
        self._alone: Producer | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        left = await asyncio.to_thread(self._producer.close, self._flush_s)
        if left:
            _log.warning("publisher_left_undelivered", records=left)
        if self._alone is not None:
            await asyncio.to_thread(self._alone.close, 0.0)

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once the brokers have every record.

        A record that its topic refuses as too large is cut and sent again. Any other failed
        delivery is a hold: it is declared, and the record is sent again until it goes through.
        Cancelling abandons the wait; what was handed to the producer may still be delivered.

        Raises:
            PublishError: The producer met a fatal error and can deliver nothing any more.
        """
        pause_s = _RETRY_FIRST_S
        together = list(records)
        alone: list[Record] = []
        with self._holds.waiter("publish") as declare_hold:
            while together or alone:
                refused: tuple[str, str] | None = None
                failed_together = await self._send(together, self._producer) if together else []
                failed_alone = await self._send(alone, self._producer_alone()) if alone else []
                together, alone = [], []
                for record, error in failed_together:
                    _raise_if_fatal(error)
                    if error.too_large:
                        # A topic's limit is on the batch: perhaps a neighbour was too large.
                        alone.append(record)
                    else:
                        together.append(record)
                        refused = record.topic, error.reason
                for record, error in failed_alone:
                    _raise_if_fatal(error)
                    smaller = record.smaller() if error.too_large else None
                    if smaller is None:
                        alone.append(record)
                        refused = record.topic, error.reason
                    else:
                        _log.warning("record_cut", topic=record.topic)
                        alone.append(smaller)
                if refused is not None:
                    declare_hold(f"topic {refused[0]}: {refused[1]}")
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _RETRY_MOST_S)

    async def require_topic(self, name: str) -> None:
        """Ask the cluster for a topic that this worker cannot do without.

        Raises:
            StartError: The cluster does not answer, or has no such topic.
        """
        try:
            found = await asyncio.to_thread(self._producer.partitions, within_s=_METADATA_S, patient=True)
        except ClusterError as error:
            raise StartError(str(error)) from error
        if name not in found:
            raise StartError(
                f"topic {name} is not there, or not for this user; run `sluicegate topics create`"
            )

    def _producer_alone(self) -> Producer:
        """A producer that sends every record in a batch of its own; made when first needed."""
        if self._alone is None:
            self._alone = self._make_producer(batches=False)
        return self._alone

    def _make_producer(self, *, batches: bool = True) -> Producer:
        declare = self._holds.declarer("login")

        def told(reason: str | None) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(declare, reason)

        return Producer(self._kafka, batches=batches, polls=True, login_told=told)

    async def _send(self, records: Sequence[Record], producer: Producer) -> list[tuple[Record, Refused]]:
        """Send each record once; return those that failed once every report is in."""
        loop = asyncio.get_running_loop()
        reported: asyncio.Future[None] = loop.create_future()
        failed: list[tuple[Record, Refused]] = []
        left = len(records)
        lock = threading.Lock()  # reports come from the poll thread, refusals from this one

        def finish() -> None:
            if not reported.done():
                reported.set_result(None)

        def report(record: Record, outcome: Placed | Refused) -> None:
            nonlocal left
            with lock:
                if isinstance(outcome, Refused):
                    failed.append((record, outcome))
                left -= 1
                done = left == 0
            if done:
                loop.call_soon_threadsafe(finish)

        for record in records:
            told = partial(report, record)
            value, headers = record.value, record.headers
            while not producer.send(record.topic, value, record.key, headers, report=told):  # noqa: ASYNC110 - nobody is told when there is room
                await asyncio.sleep(_QUEUE_FULL_PAUSE_S)
        await reported
        return failed


def _raise_if_fatal(error: Refused) -> None:
    if error.fatal:
        raise PublishError(f"the producer is dead ({error.reason}): the worker must start again")
