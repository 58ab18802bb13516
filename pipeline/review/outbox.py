"""The outbox: what was decided, on its way to Kafka.

A record is made in the transaction of its decision, and marked as sent once the brokers have it. A process that ends in between
sends it again: with the same id, key and bytes.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.review.spreading import spread
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import outbox, spreads
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas.feedback import FEEDBACK_VERSION
from sluicegate.schemas.resolution import RESOLUTION_VERSION

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_log = logging.getLogger("sluicegate.review")

_LOOK_S = 1.0  # where nobody says that there is something to send
_PAUSE_S = 1.0
_AT_ONCE = 500
_CLOSE_S = 5.0
_VERSIONS = {"resolution": RESOLUTION_VERSION, "feedback": FEEDBACK_VERSION}


class Outbox:
    """Publishes what stands in the store, in its order, in a thread of its own. It also tells copies what was decided for them.

    Args:
        kafka: The cluster.
        topics: Names of topics.
        store: Where records wait.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, store: ReviewStore) -> None:
        self._kafka = kafka
        self._topics = {"resolution": topics.resolutions, "feedback": topics.feedback}
        self._store = store
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="review-outbox", daemon=True)
        self.trouble: str | None = None
        """Why nothing is sent just now; None while all is well."""

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to send."""
        self._wanted.set()

    def stop(self) -> None:
        """End. What was not sent by then is sent by the next process."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._publish_on()
            except PipelineError as error:
                self._hold(str(error))
            except Exception as error:  # noqa: BLE001 - what was decided must go out: it is tried again, and shown
                self._hold(f"decisions cannot be sent: {frames(error)}")

    def _hold(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.error("the outbox holds: %s", trouble)
        self.trouble = trouble
        self._stopping.wait(_PAUSE_S)

    def _publish_on(self) -> None:
        producer = Producer(self._kafka)
        try:
            while not self._stopping.is_set():
                self._wanted.clear()
                told = self._tell_copies()
                if not self.publish(producer) and not told:
                    self._wanted.wait(_LOOK_S)
        finally:
            producer.close(_CLOSE_S)

    def _tell_copies(self) -> int:
        with self._store.reading() as connection:
            if connection.execute(select(spreads.c.number).limit(1)).first() is None:
                return 0
        with self._store.writing() as connection:
            return spread(connection)

    def publish(self, producer: Producer) -> int:
        """Send what waits, up to some hundreds; how many the brokers have now.

        Raises:
            PipelineError: The brokers refused a record.
        """
        with self._store.reading() as connection:
            rows = connection.execute(
                select(outbox).where(outbox.c.sent_at.is_(None)).order_by(outbox.c.number).limit(_AT_ONCE)
            ).all()
        if not rows:
            self.trouble = None
            return 0
        placed: list[int] = []
        refused: list[str] = []
        for row in rows:
            report = partial(_reported, row.number, placed, refused)
            headers = _headers(row)
            producer.put(self._topics[row.kind], row.value, row.key.encode(), headers, report=report)
        producer.flush()
        if placed:
            with self._store.writing() as connection:
                connection.execute(
                    update(outbox)
                    .where(outbox.c.number.in_(placed), outbox.c.sent_at.is_(None))
                    .values(sent_at=time.time(), value=None)
                )
        if refused or len(placed) < len(rows):
            reason = refused[0] if refused else "no answer"
            raise PipelineError(f"the brokers did not take a decision ({reason}); it is sent again")
        self.trouble = None
        return len(placed)


def waiting(connection: Connection) -> int:
    """How many records were not sent yet, and of how many decisions some were not made yet."""
    unsent: int = connection.execute(select(func.count()).where(outbox.c.sent_at.is_(None))).scalar_one()
    untold: int = connection.execute(select(func.count()).select_from(spreads)).scalar_one()
    return unsent + untold


def _reported(number: int, placed: list[int], refused: list[str], outcome: Placed | Refused) -> None:
    if isinstance(outcome, Placed):
        placed.append(number)
    else:
        refused.append(outcome.reason)


def _headers(row: Row[Any]) -> list[tuple[str, bytes]]:
    return [
        (f"{row.kind}-id", row.record_id.encode()),
        ("schema-version", _VERSIONS[row.kind].encode()),
        ("content-type", b"application/json"),
    ]
