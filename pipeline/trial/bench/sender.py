"""The sender: hands each post over when its time has come, whatever became of the ones before."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.bench.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator


_LINGER_MS = 1.0
_QUEUE_RECORDS = 100_000  # librdkafka's own default
_FULL_PAUSE_S = 0.01
_NO_ROOM = "_QUEUE_FULL"  # librdkafka's name of it
_FLUSH_STEP_S = 0.2
_FLUSH_MORE_S = 5.0  # beyond the delivery timeout, for the report of it
_CUT_FLUSH_S = 2.0


class Sender(threading.Thread):
    """Sends the records of a run in their order, in a thread of its own. Start it once.

    Args:
        kafka: The cluster.
        topic: The input topic.
        values: What to send, one for each arrival.
        ledger: Knows the arrivals, and notes what is sent.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, values: Iterator[bytes], ledger: Ledger) -> None:
        super().__init__(name="sluicegate-bench", daemon=True)
        self._kafka = kafka
        self._topic = topic
        self._values = values
        self._ledger = ledger
        self._cut = threading.Event()
        self.fault: Exception | None = None
        """What ended the sending before its time."""

    def cut(self) -> None:
        """Send nothing more; the thread ends soon."""
        self._cut.set()

    def run(self) -> None:
        """Send until all is sent or it is cut."""
        producer = Producer(self._kafka, queue_records=_QUEUE_RECORDS, linger_ms=_LINGER_MS, polls=True)
        try:
            self._send(producer)
        except Exception as error:  # noqa: BLE001 - who watches this thread raises it
            self.fault = error
        finally:
            self._flush(producer)
            producer.close(_CUT_FLUSH_S)

    def _flush(self, producer: Producer) -> None:
        """Wait for what is under way, in steps: whoever cuts does not wait for brokers that are out."""
        until = time.monotonic() + self._kafka.delivery_timeout_s + _FLUSH_MORE_S
        while not self._cut.is_set() and time.monotonic() < until:
            if not producer.flush(_FLUSH_STEP_S):
                return

    def _send(self, producer: Producer) -> None:
        began = time.monotonic()
        self._ledger.began_ms = time.time() * 1000
        for number, (at_s, value) in enumerate(zip(self._ledger.arrivals.at_s, self._values, strict=True)):
            left_s = began + at_s - time.monotonic()
            if self._cut.wait(left_s) if left_s > 0 else self._cut.is_set():
                return
            self._ledger.note_sent(number, at_ms=time.time() * 1000, size=len(value))
            key, report = self._ledger.name(number).encode(), partial(self._report, number)
            while not producer.send(self._topic, value, key, report=report):
                if self._cut.wait(_FULL_PAUSE_S):
                    self._ledger.note_refused(number, _NO_ROOM)
                    return

    def _report(self, number: int, outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            self._ledger.note_refused(number, outcome.reason)
