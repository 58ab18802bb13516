"""The projector: reads topics into the store. What a record changes and how far was read are one transaction."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.kafka.resumed import ResumedTail
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.review.candidates import TriedPosts
from sluicegate.pipeline.review.cases import Cases
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import cases as cases_table
from sluicegate.pipeline.review.tables import decisions, offsets, resolutions
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.shadow.records import SummaryRecord, read_record
from sluicegate.schemas import Post, Resolution, Verdict, decode_post
from sluicegate.schemas._fields import Identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_log = logging.getLogger("sluicegate.review")

_READ_S = 0.2
_AT_ONCE_S = 0.05  # who decides waits for one transaction of the projector at most
_LEAST_AT_ONCE, _MOST_AT_ONCE = 5, 500
_SWEEP_S = 5.0
_SWEPT_AT_ONCE = 10
_LOOK_EVERY_S = 10.0
_LOOK_S = 2.0
_PAUSE_S = 1.0
_IDENTIFIER = TypeAdapter(Identifier)


class OvertakenError(Exception):
    """Another projector has read on: what was read here is thrown away, and read from there."""


class Projector:
    """Follows posts, verdicts and resolutions, in a thread of its own.

    Args:
        kafka: The cluster.
        topics: Names of topics.
        store: Where to.
        cases: What records mean.
        candidates: True reads what a comparator asks, too.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        store: ReviewStore,
        cases: Cases,
        *,
        candidates: bool = False,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        # The outputs' last is the topic of dead letters: nobody decides about those here.
        self._names: tuple[str, ...] = (topics.posts, *topics.outputs[:3], topics.resolutions)
        if candidates:
            self._names += (topics.comparisons,)
        self._store = store
        self._cases = cases
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="review-projector", daemon=True)
        self.trouble: str | None = "the topics were not read yet"
        """Why nothing is read just now; None while all is well."""
        self._size = _LEAST_AT_ONCE
        self.unreadable = 0
        """How many records were passed over: they are none of ours, or no table has room for them."""
        self.unread = 0
        """How many records stand on the topics that were not read yet, as far as the brokers told."""

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the transaction in hand."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except OvertakenError:
                _log.info("another projector has read on; this one follows it")
            except PipelineError as error:
                self._hold(str(error))
            except Exception as error:  # noqa: BLE001 - nothing is passed over: it is tried again, and shown
                self._hold(f"a record could not be taken: {frames(error)}")

    def _hold(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.error("the projector holds: %s", trouble)
        self.trouble = trouble
        self._stopping.wait(_PAUSE_S)

    def _follow(self) -> None:
        with self._store.reading() as connection:
            known = known_offsets(connection)
        swept_at = looked_at = 0.0
        with ResumedTail(self._kafka, self._names, known) as tail:
            while not self._stopping.is_set():
                if time.monotonic() - looked_at > _LOOK_EVERY_S:
                    tail.look(within_s=_LOOK_S)  # of brokers that went away reading says nothing
                    looked_at = time.monotonic()
                # Posts first: a verdict that finds its text needs no second look.
                records = sorted(tail.read(_READ_S), key=lambda one: one.topic != self._topics.posts)
                while records:
                    part, records = records[: self._size], records[self._size :]
                    known = self.take(part, known)
                self.trouble = tail.trouble
                self.unread = tail.unread(known)
                if time.monotonic() - swept_at > _SWEEP_S:
                    with self._store.writing() as connection:
                        left = self._cases.sweep(connection, time.time(), _SWEPT_AT_ONCE)
                    swept_at = 0.0 if left else time.monotonic()

    def take(
        self, records: Sequence[TopicRecord], known: dict[tuple[str, int], int]
    ) -> dict[tuple[str, int], int]:
        """Take records in one transaction; what is known of offsets afterwards.

        Raises:
            OvertakenError: The store's offsets are not those that are known here. Nothing was taken.
        """
        after = dict(known)
        with self._store.writing() as connection:
            began = time.monotonic()  # how long it waited for others says nothing of its own work
            for record in records:
                self._dispatch(connection, record)
            for record in records:
                after[record.topic, record.partition] = record.offset + 1
            for place, following in after.items():
                if known.get(place) != following:
                    _move(connection, place, known.get(place), following)
            each_s = (time.monotonic() - began) / len(records)
        self._size = max(_LEAST_AT_ONCE, min(int(_AT_ONCE_S / each_s), _MOST_AT_ONCE))
        return after

    def _dispatch(self, connection: Connection, record: TopicRecord) -> None:
        if record.topic == self._topics.posts:
            post = decode_post(record.value, limit_bytes=2**31) if record.value is not None else None
            if isinstance(post, Post):  # what is none becomes a dead letter
                self._cases.take_post(connection, post)
            return
        if record.topic == self._topics.comparisons:
            self._compare(connection, record)
            return
        event: Verdict | Resolution | None
        if record.topic == self._topics.resolutions:
            if (event := record.event(Resolution)) and _fits(event):
                self._cases.take_resolution(connection, event)
        elif (event := record.event(Verdict)) and _fits(event):
            self._cases.take_verdict(connection, event)
        if event is None or not _fits(event):
            self._pass_over(record)

    def _compare(self, connection: Connection, record: TopicRecord) -> None:
        found = None if record.value is None else read_record(record.value)
        if found is None:
            self._pass_over(record)
        elif isinstance(found, SummaryRecord):
            TriedPosts.keep_summary(connection, found)
        else:
            self._cases.take_comparison(connection, found)

    def _pass_over(self, record: TopicRecord) -> None:
        self.unreadable += 1
        _log.error("unreadable record at %s/%d/%d", record.topic, record.partition, record.offset)


def _fits(event: Verdict | Resolution) -> bool:
    """Whether the tables have room for a record.

    The contract bounds none of these fields, and our workers fill them well. PostgreSQL refuses what is too long or holds a
    NUL: without this, the projector would try the same record for ever.
    """
    given: list[tuple[str, Any]]
    if isinstance(event, Resolution):
        given = [(event.resolution_id, resolutions.c.resolution_id)]
    else:
        try:  # no resolution could name it otherwise, and its case would be decided by nobody
            _IDENTIFIER.validate_python(event.verdict_id)
        except ValueError:
            return False
        given = [
            (event.disposition, decisions.c.disposition),
            *((one, cases_table.c.category) for one in event.categories),
        ]
        if event.breaker is not None:
            given.append((event.breaker.disposition, decisions.c.disposition))
        if "\0" in event.policy.rule:  # its length is cut where it is kept
            return False
    return all("\0" not in value and len(value) <= column.type.length for value, column in given)


def known_offsets(connection: Connection) -> dict[tuple[str, int], int]:
    """The next offset to read, by topic and partition."""
    return {(row.topic, row.partition): row.next for row in connection.execute(select(offsets))}


def _move(connection: Connection, place: tuple[str, int], before: int | None, after: int) -> None:
    """Move an offset, if it stands where it is thought to."""
    topic, partition = place
    if before is None:
        try:
            connection.execute(insert(offsets).values(topic=topic, partition=partition, next=after))
        except IntegrityError:
            raise OvertakenError from None
        return
    moved = connection.execute(
        update(offsets)
        .where(offsets.c.topic == topic, offsets.c.partition == partition, offsets.c.next == before)
        .values(next=after)
    )
    if not moved.rowcount:
        raise OvertakenError
