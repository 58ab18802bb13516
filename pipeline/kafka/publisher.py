"""The publisher: events to their topics, delivered before anything is acknowledged.

confluent-kafka's producer, idempotent with acks=all. librdkafka works in threads of its own and
reports deliveries from :meth:`poll`, which one thread here calls; a publish hands its result to
the event loop once, not once per record.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Self

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from sluicegate.pipeline.errors import ClusterError, PublishError, StartError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.kafka.unreachable import ask_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.pipeline.observe.holds import Holds
    from sluicegate.pipeline.records import Outgoing
    from sluicegate.pipeline.settings.tree import KafkaSettings

_log = structlog.get_logger(__name__)
_librdkafka = logging.getLogger("librdkafka")  # its own lines on stderr would not be JSON

_METADATA_S = 15.0
_POLL_S = 0.1  # poll returns sooner when there is a report
_QUEUE_FULL_PAUSE_S = 0.01  # a few linger.ms
_RETRY_FIRST_S, _RETRY_MOST_S = 0.5, 10.0
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}


class Publisher:
    """The producers and their poll thread. Use as an async context manager."""

    def __init__(self, kafka: KafkaSettings, holds: Holds, *, flush_s: float) -> None:
        self._holds = holds
        self._flush_s = flush_s
        self._config = {
            **client_config(kafka),
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 5,
            "delivery.timeout.ms": int(kafka.delivery_timeout_s * 1000),
        }
        self._kafka = kafka
        self._producer = Producer(self._config, logger=_librdkafka)
        self._alone: Producer | None = None
        self._running = True
        self._poller = threading.Thread(target=self._poll, name="publisher-poll", daemon=True)

    async def __aenter__(self) -> Self:
        self._poller.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        undelivered = await asyncio.to_thread(self._producer.flush, self._flush_s)
        if undelivered:
            _log.warning("publisher_left_undelivered", records=undelivered)
        self._running = False
        await asyncio.to_thread(self._poller.join, 1.0)

    def _poll(self) -> None:
        while self._running:
            self._producer.poll(_POLL_S)
            if self._alone is not None:
                self._alone.poll(0)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return once the brokers have every record.

        A record that its topic refuses as too large is cut and sent again. Any other failed
        delivery is a hold: it is declared, and the record is sent again until it goes through.
        Cancelling abandons the wait; what was handed to the producer may still be delivered.

        Raises:
            PublishError: The producer met a fatal error and can deliver nothing any more.
        """
        pause_s = _RETRY_FIRST_S
        together = list(records)
        alone: list[Outgoing] = []
        with self._holds.waiter("publish") as declare_hold:
            while together or alone:
                refused: tuple[str, str] | None = None
                failed_together = await self._send(together, self._producer) if together else []
                failed_alone = await self._send(alone, self._producer_alone()) if alone else []
                together, alone = [], []
                for record, error in failed_together:
                    _raise_if_fatal(error)
                    if error.code() in _TOO_LARGE:
                        alone.append(
                            record
                        )  # a topic's limit is on the batch: perhaps a neighbour was too large
                    else:
                        together.append(record)
                        refused = record.topic, error.name()
                for record, error in failed_alone:
                    _raise_if_fatal(error)
                    smaller = record.smaller() if error.code() in _TOO_LARGE else None
                    if smaller is None:
                        alone.append(record)
                        refused = record.topic, error.name()
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
            found = await asyncio.to_thread(ask_metadata, self._producer, self._kafka, within_s=_METADATA_S)
        except ClusterError as error:
            raise StartError(str(error)) from error
        if name not in found.topics:
            raise StartError(
                f"topic {name} is not there, or not for this user; run `sluicegate topics create`"
            )

    def _producer_alone(self) -> Producer:
        """A producer that sends every record in a batch of its own; made when first needed."""
        if self._alone is None:
            self._alone = Producer(self._config | {"batch.num.messages": 1}, logger=_librdkafka)
        return self._alone

    async def _send(
        self, records: Sequence[Outgoing], producer: Producer
    ) -> list[tuple[Outgoing, KafkaError]]:
        """Produce each record once; return those that failed once every report is in."""
        loop = asyncio.get_running_loop()
        reported: asyncio.Future[None] = loop.create_future()
        failed: list[tuple[Outgoing, KafkaError]] = []
        left = len(records)
        lock = threading.Lock()  # reports come from the poll thread, refusals from this one

        def finish() -> None:
            if not reported.done():
                reported.set_result(None)

        def report(record: Outgoing, error: KafkaError | None) -> None:
            nonlocal left
            with lock:
                if error is not None:
                    failed.append((record, error))
                left -= 1
                done = left == 0
            if done:
                loop.call_soon_threadsafe(finish)

        for record in records:
            await _produce(producer, record, report)
        await reported
        return failed


def _raise_if_fatal(error: KafkaError) -> None:
    if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own name
        raise PublishError(f"the producer is dead ({error.name()}): the worker must start again")


async def _produce(
    producer: Producer, record: Outgoing, report: Callable[[Outgoing, KafkaError | None], None]
) -> None:
    value = record.value
    while True:
        try:
            producer.produce(
                record.topic,
                value=value,
                key=record.key,
                headers=list(record.headers),
                on_delivery=lambda error, _message: report(record, error),
            )
        except BufferError:  # nothing was queued; librdkafka's queue empties as the brokers answer
            await asyncio.sleep(_QUEUE_FULL_PAUSE_S)
        except KafkaException as error:
            report(record, error.args[0])
            return
        else:
            return
