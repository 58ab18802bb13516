"""The producer: the one way in which records of ours reach a topic.

librdkafka works in threads of its own. It tells what became of a record when :meth:`Producer.poll` or
:meth:`Producer.flush` is called; what it tells is handed on as a value, so no caller knows the library's errors.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.unreachable import ask_metadata
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.settings.tree import KafkaSettings

_log = logging.getLogger("sluicegate.producer")
_librdkafka = logging.getLogger("librdkafka")  # its own lines on stderr would not be JSON

TOO_LARGE = {"MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE"}
"""Kafka's names of a record that is larger than the client or the topic takes."""
_POLL_S = 0.1  # poll returns sooner when there is a report
_PURGED_S = 1.0  # reports of what was purged need no broker
_PURGED = {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}
_REPLACED_S = 5.0  # what a client has under way when another takes its place


@dataclass(slots=True)  # frozen, each would take twice as long to make
class Placed:
    """Where the brokers put a record. Nobody changes it."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the brokers have no record."""

    reason: str
    """Kafka's name of the fault."""
    fatal: bool = False
    """True if this producer can deliver nothing any more."""
    too_large: bool = False
    """True if the record, or the batch that it was sent in, is larger than the topic takes."""


Report = Callable[[Placed | Refused], None]
_CLOSED = Refused("_DESTROY", fatal=True)
"""As librdkafka names what meets a client that is closed."""


class _Record(NamedTuple):
    """What :meth:`Producer.send` was given."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    report: Report
    partition: int | None


class Producer:
    """An idempotent producer with acks=all. Thread-safe; nothing here waits but ``poll``, ``flush`` and ``close``.

    Args:
        kafka: The cluster. Each record ends by its ``delivery_timeout_s``.
        linger_ms: How long a record waits for others to share its batch.
        queue_records: Most records that wait for the brokers; None for librdkafka's own limit of 100,000.
        record_bytes: The largest record; None for librdkafka's own limit of 1,000,000.
        batches: False sends every record in a batch of its own.
        polls: True starts a thread that hands on reports until :meth:`close`; else the caller polls.
        login_told: Gets why the login is refused, and None when it is accepted again; from the thread that polls.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        linger_ms: float = 5,
        queue_records: int | None = None,
        record_bytes: int | None = None,
        batches: bool = True,
        polls: bool = False,
        login_told: Callable[[str | None], None] | None = None,
    ) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who sends pays for the client

        self._kafka = kafka
        self._refusal = KafkaException
        bounds: dict[str, Any] = (
            {} if queue_records is None else {"queue.buffering.max.messages": queue_records}
        )
        self._options = {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "delivery.timeout.ms": int(kafka.delivery_timeout_s * 1000),
            **bounds,
            **({} if record_bytes is None else {"message.max.bytes": record_bytes}),
            **({} if batches else {"batch.num.messages": 1}),
        }
        self._credentials = Credentials(kafka, told=login_told)
        self._client = self._make_client()
        self._replacing = False
        self._replacement = threading.RLock()  # who flushes waits for its end
        self._taken_back: list[_Record] = []
        self._running, self._closed = True, False
        self._sending = threading.Lock()  # what is sent beside close is flushed by it, or refused
        self._poller = (
            threading.Thread(target=self._poll_on, name="producer-poll", daemon=True) if polls else None
        )
        if self._poller is not None:
            self._poller.start()

    def _make_client(self) -> Any:
        from confluent_kafka import Producer as Client  # noqa: PLC0415 - only who sends pays for the client

        config = {**self._credentials.config(), **self._options}
        try:
            return Client(config, logger=_librdkafka)
        except self._refusal:
            self._credentials.forget()
            raise

    def _poll_on(self) -> None:
        while self._running:
            try:
                self.poll(_POLL_S)
            except Exception as fault:  # noqa: BLE001 - without this thread nobody would learn what became of a record
                _log.error("polling failed, and goes on: %s", frames(fault))
                time.sleep(_POLL_S)

    def _replace(self) -> None:
        """Go on with a client that has the new credentials; nothing is sent meanwhile, so the order stays.

        What the one before cannot deliver is taken back from it, and sent by the new one.
        """
        with self._replacement:
            with self._sending:
                if self._closed:
                    return
                self._replacing = True
            try:
                client, before = self._make_client(), self._client
                if before.flush(_REPLACED_S):
                    before.purge()
                    before.flush(_PURGED_S)
                self._client = client
                again, self._taken_back = self._taken_back, []
                for record in again:
                    try:
                        self._produce(record)
                    except self._refusal as error:  # it must be told all the same: somebody waits for it
                        record.report(_refused(error.args[0]))
            finally:
                self._replacing = False

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        *,
        report: Report,
        partition: int | None = None,
    ) -> bool:
        """Queue a record; False if there is no room just now, and then nothing is reported. After :meth:`close` it is refused.

        Args:
            topic: Where it goes.
            value: Its value; None is a tombstone.
            key: Its key.
            headers: Its headers, in order.
            report: Called once with what became of the record, from the thread that polls. A record that is
                refused at once, such as one larger than the client allows, is reported before this returns.
            partition: Its partition; None leaves that to the key.
        """
        try:
            with self._sending:
                closed = self._closed
                if self._replacing:
                    return False
                if not closed:
                    self._produce(_Record(topic, value, key, headers, report, partition))
        except BufferError:
            return False
        except self._refusal as error:
            report(_refused(error.args[0]))
        else:
            if closed:
                report(_CLOSED)
        return True

    def _produce(self, record: _Record) -> None:
        topic, value, key, headers, report, partition = record

        # It knows nothing that knows it: in a cycle, a record would stay until the collector comes by.
        def on_delivery(error: Any, message: Any) -> None:
            if error is not None and self._replacing and error.name() in _PURGED:
                self._taken_back.append(record)
                return
            outcome = (
                Placed(message.topic(), message.partition(), message.offset())
                if error is None
                else _refused(error)
            )
            try:
                report(outcome)
            except Exception as fault:  # noqa: BLE001 - a caller's code may not end the thread of all reports
                _log.error("a delivery callback failed: %s", frames(fault))

        where = {} if partition is None else {"partition": partition}
        self._client.produce(topic, value, key, headers=list(headers), on_delivery=on_delivery, **where)

    def put(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        *,
        report: Report,
        partition: int | None = None,
    ) -> None:
        """As :meth:`send`, but a full queue is waited for, and reports are handed on meanwhile. Blocking."""
        while not self.send(topic, value, key, headers, report=report, partition=partition):
            self.poll(_POLL_S)

    def poll(self, timeout_s: float = 0) -> None:
        """Hand on reports; waits at most so long for the first, and longer only where credentials have changed."""
        client = self._client
        client.poll(timeout_s)
        if self._credentials.look(client):
            self._replace()

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait for reports; how many records have none yet.

        Args:
            timeout_s: Seconds; None waits as long as a record may take, and a little longer.
        """
        within_s = self._kafka.delivery_timeout_s + 5 if timeout_s is None else timeout_s
        end = time.monotonic() + within_s
        while True:
            client = self._client
            left: int = client.flush(max(0.0, end - time.monotonic()))
            with self._replacement:
                if client is self._client:
                    return left

    def close(self, timeout_s: float) -> int:
        """Refuse what is sent from now on, and flush; what is left by then is reported as refused. How many that were."""
        with self._sending:
            self._closed = True
        left = self.flush(timeout_s)
        if left:
            self._client.purge()
            self.flush(_PURGED_S)
        self._running = False
        if self._poller is not None:
            self._poller.join()
        return left

    def partitions(self, *, within_s: float | None = None, patient: bool = False) -> dict[str, int]:
        """Topics that this user sees, with the number of their partitions.

        Args:
            within_s: Limit while nobody answers; by default ``delivery_timeout_s``.
            patient: True waits that long also where nothing listens yet.

        Raises:
            ClusterError: The cluster does not answer within that time.
        """
        within_s = self._kafka.delivery_timeout_s if within_s is None else within_s
        found = ask_metadata(self._client, self._kafka, within_s=within_s, patient=patient)
        return {name: len(topic.partitions) for name, topic in found.topics.items()}


def _refused(error: Any) -> Refused:
    fatal = error.fatal() or error.name() == "_FATAL"
    return Refused(error.name(), fatal=fatal, too_large=error.name() in TOO_LARGE)
