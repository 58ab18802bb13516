"""The consumer: one thread that owns this member's client of the group, and hands records on by the chunk.

Everything here runs in that thread, but what says otherwise. A reset is a decision of ours
(``auto.offset.reset=error``): it is committed before a record behind it is handed on, and what was read before
it is acknowledged no more (:class:`Partitions`). Why: docs/adr/0018.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, TopicPartition

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.assignment import Assignment, Chunk, KafkaDelivery, Reset
from sluicegate.pipeline.kafka.client_config import REFRESH_MS
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.onlooker import CUT
from sluicegate.pipeline.kafka.partitions import Partitions
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_log = logging.getLogger("sluicegate.consumer")
_librdkafka = logging.getLogger("librdkafka")  # its own lines on stderr would not be JSON

_POLL_S = 0.1
_AT_ONCE = 500  # records of one call: enough to amortise it, few enough to be taken in a moment
_BREATH_S = 0.02  # between two looks for room
# A buffer that is full for longer pauses its partitions, so that the group still hears of us.
_PATIENCE_S = 0.5
_FETCH_KIB = (1024, 65536)  # what librdkafka may hold ready
# It fetches again below so many records. With its default, 100,000, a backlog of short posts took 25 MB more.
_FETCH_BELOW = 2000
# Of a partition at once. What comes is dropped at the next pause and comes again, so librdkafka's own MiB gains nothing.
_FETCH_BYTES = 256 * 1024
_HEARTBEAT_S = 1.0  # a rebalance has two rounds, and members hear of each by a heartbeat

_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
_UNREADABLE_BATCH = {
    KafkaError._BAD_MSG,  # noqa: SLF001 - librdkafka's own name
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - the same
}
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own name


class Listener(Protocol):
    """Who is told of what the consumer meets; in the event loop."""

    async def hand_on(self, chunks: Sequence[Chunk]) -> None:
        """Take chunks, in their order."""
        ...

    async def hand_over(self) -> None:
        """Finish or give back all that is held: partitions are about to go."""
        ...

    def assigned(self, partitions: Sequence[Partition], *, given: bool) -> None:
        """This member has these partitions now, and takes again; ``given`` if the group just gave it some, or none."""
        ...

    def lost(self) -> None:
        """This member is none any more, and has nothing until the group gives it some again."""
        ...

    def was_reset(self, partition: Partition, reset: Reset) -> None:
        """A partition is read from another place."""
        ...

    def login_told(self, reason: str | None) -> None:
        """Why the brokers refuse this member's login; None if they accept it again."""
        ...


class GroupConsumer:
    """A member of the group, in a thread of its own.

    Args:
        kafka: The cluster and the group.
        topic: What is read.
        most_records: That are handed on and not taken; 500 more may stand there.
        most_bytes: Of these records; those of 500 more may stand there.
        listener: Is told.
        make_client: Makes the client from librdkafka's settings.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        most_records: int,
        most_bytes: int,
        listener: Listener,
        make_client: Callable[..., Any] = Client,
    ) -> None:
        self._make_client = make_client
        self._kafka = kafka
        self._topic = topic
        self._most_records, self._most_bytes = most_records, most_bytes
        self._listener = listener
        self._credentials = Credentials(kafka, told=partial(self._tell, listener.login_told))
        self._partitions = Partitions(
            kafka, topic, trouble=self._trouble, was_reset=partial(self._tell, listener.was_reset)
        )
        self._handed = self._handed_bytes = 0
        self._taken = self._taken_bytes = 0
        self._room = threading.Event()
        self._full_since: float | None = None
        self._stopping = threading.Event()
        self._requests: SimpleQueue[Partition] = SimpleQueue()
        self._troubles: set[str] = set()
        self._rebalancing = False
        self._seen_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]
        self._client: Any = None

    # What others may ask, in the event loop.

    def start(self) -> asyncio.Future[None]:
        """Begin; the future ends with the thread, and has what ended it.

        Raises:
            SettingsError: A file that the security settings name is of no use.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._client = self._make_member()
        self._partitions.open()
        self._thread.start()
        return self._ended

    def stop(self) -> None:
        """Begin to leave: everything is handed over and committed before."""
        self._stopping.set()

    @property
    def assignments(self) -> dict[Partition, Assignment]:
        """What this member has now."""
        return self._partitions.assignments

    @property
    def rebalancing(self) -> bool:
        """True while partitions come or go."""
        return self._rebalancing

    @property
    def silent_s(self) -> float:
        """Seconds since the thread last asked for records, or tried to."""
        return time.monotonic() - self._seen_at if self._thread.is_alive() else 0.0

    def took(self, chunk: Chunk) -> None:
        """Make room: a chunk was taken, or dropped."""
        self._taken += len(chunk.deliveries)
        self._taken_bytes += chunk.size_bytes
        self._room.set()

    def begin_again(self, partitions: Iterable[Partition]) -> None:
        """Read partitions again from what the cluster says of them: their topic was made again."""
        for one in partitions:
            self._requests.put(one)

    # The thread.

    def options(self) -> dict[str, Any]:
        """Librdkafka's settings for this member."""
        kafka = self._kafka
        session_ms = int(kafka.session_timeout_s * 1000)
        least, most = _FETCH_KIB
        static = {} if kafka.instance_id is None else {"group.instance.id": kafka.instance_id}
        return {
            **self._credentials.config(),
            **static,
            "group.id": kafka.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "check.crcs": True,
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": int(min(_HEARTBEAT_S * 1000, session_ms / 3)),
            # In a rebalance the group waits for a member as long as this.
            "max.poll.interval.ms": max(session_ms, int(kafka.rebalance_timeout_s * 1000)),
            "topic.metadata.refresh.interval.ms": REFRESH_MS,
            "queued.max.messages.kbytes": min(most, max(least, self._most_bytes // 1024)),
            "queued.min.messages": _FETCH_BELOW,
            "max.partition.fetch.bytes": _FETCH_BYTES,
            "fetch.queue.backoff.ms": 10,  # librdkafka's own second starves a fast worker
            "fetch.wait.max.ms": 100,  # the mock cluster lets an empty fetch wait so long, whatever comes meanwhile
            "on_commit": self._partitions.committed,
        }

    def _make_member(self) -> Any:
        return self._make_client(self.options(), logger=_librdkafka)

    def _another(self) -> Any | None:
        return self._credentials.renewed(self._client, self._make_member)

    def _run(self) -> None:
        fault: BaseException | None = None
        try:
            while (renewed := self._read_on()) is not None:
                # The new credentials are good: leave with the client that has the old ones, and join again.
                self._client.close()
                self._client = renewed
                self._partitions.go_on()
        except BaseException as error:  # noqa: BLE001 - told to who waits for the thread
            fault = error
        try:
            self._client.close()  # gives the partitions back, and leaves the group
        except BaseException as error:  # noqa: BLE001 - the same
            fault = fault or error
        finally:
            self._tell(self._end, fault)

    def _read_on(self) -> Any | None:
        """Be a member until told to stop, or until there is another client to go on with; then everything is handed over."""
        self._client.subscribe(
            [self._topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose
        )
        renewed = None
        while not self._stopping.is_set() and (renewed := self._another()) is None:
            self._meet_requests()
            self._partitions.look(self._client)
            self._hand_on(self._fetch())
        self._hand_over()
        return renewed

    def _meet_requests(self) -> None:
        while not self._requests.empty():
            assignment = self.assignments.get(self._requests.get())
            if assignment is not None:
                self._partitions.end(assignment)

    def _end(self, fault: BaseException | None) -> None:
        if self._ended.cancelled():
            return
        if fault is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(fault)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *arguments)

    def _fetch(self) -> list[Any]:
        """What has come; nothing while the flow has no room."""
        self._seen_at = time.monotonic()
        if self._is_full:
            now = time.monotonic()
            self._full_since = now if self._full_since is None else self._full_since
            if now - self._full_since < _PATIENCE_S:
                self._room.clear()
                self._room.wait(_BREATH_S)
                return []
            self._partitions.pause(self._client, to=True)
        elif self._full_since is not None:
            self._full_since = None
            self._partitions.pause(self._client, to=False)
        first = self._client.poll(_POLL_S)
        return [] if first is None else [first, *self._client.consume(_AT_ONCE - 1, timeout=0)]

    @property
    def _is_full(self) -> bool:
        records, size = self._handed - self._taken, self._handed_bytes - self._taken_bytes
        return records >= self._most_records or size >= self._most_bytes

    def _hand_on(self, messages: Sequence[Any]) -> None:
        assignments = self.assignments
        by_assignment: dict[Assignment, list[KafkaDelivery]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._meet(message, error)
                continue
            assignment = assignments.get((message.topic(), message.partition()))
            if assignment is None or not assignment.is_current:
                continue  # it ended meanwhile, and is read again
            offset = message.offset()
            if offset < assignment.handed:
                raise ClusterError(
                    f"record {offset} of {self._topic}/{message.partition()} came after {assignment.handed - 1}; "
                    "nothing was committed past it: start the worker again"
                )
            assignment.hand(offset, message.leader_epoch())
            by_assignment.setdefault(assignment, []).append(KafkaDelivery.of(assignment, offset, message))
        chunks = []
        for assignment, deliveries in by_assignment.items():
            assignment.chunks += 1
            size = sum(one.size_bytes for one in deliveries)
            chunks.append(Chunk(assignment, assignment.chunks, deliveries, size))
            self._handed += len(deliveries)
            self._handed_bytes += size
        if chunks:
            asyncio.run_coroutine_threadsafe(self._listener.hand_on(chunks), self._loop)

    def _meet(self, message: Any, error: Any) -> None:
        """Act on what came in place of a record."""
        code, assignment = error.code(), self.assignments.get((message.topic(), message.partition()))
        if code == _EOF:
            if assignment is not None:
                assignment.see_end(message.offset())
                self._troubles.clear()
        elif code in CUT:
            if assignment is not None and assignment.is_current:
                self._partitions.cut(assignment)
        elif code in _UNREADABLE_BATCH:
            raise ClusterError(
                f"a batch of {self._topic}/{message.partition()} at offset {message.offset()} cannot be read "
                f"({error.str()}); docs/operations.md tells how to pass it"
            )
        elif code in _REFUSED or code == KafkaError._FATAL or error.fatal():  # noqa: SLF001 - librdkafka's own name
            raise ClusterError(
                f"this member of the group is dead ({error.name()}: {error.str()}); "
                "start the worker again, and ask `sluicegate check` for a right that is missing"
            )
        elif code == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            self._trouble(f"workers of another release are in the group {self._kafka.group}; stop them first")
        else:
            self._trouble(f"{error.name()}: {error.str()}")  # librdkafka goes on by itself

    def _trouble(self, what: str) -> None:
        """Log what stands in the way, once until a partition is read to its end again."""
        if what not in self._troubles:
            self._troubles.add(what)
            _log.warning("the input topic cannot be read just now: %s", what)

    # What the client tells while partitions come and go, and of commits.

    def _assign(self, client: Any, places: Sequence[TopicPartition]) -> None:
        self._rebalancing = True
        try:
            self._partitions.begin(client, {(one.topic, one.partition): None for one in places})
            self._tell_assigned(given=True)
        finally:
            self._rebalancing = False

    def _revoke(self, client: Any, places: Sequence[TopicPartition]) -> None:
        self._rebalancing = True
        try:
            self._hand_over()
            self._partitions.drop(client, places)
            self._tell_assigned(given=False)
        finally:
            self._rebalancing = False

    def _lose(self, client: Any, places: Sequence[TopicPartition]) -> None:
        # Somebody else may have them already.
        self._partitions.drop(client, places)
        self._tell(self._listener.lost)

    def _tell_assigned(self, *, given: bool) -> None:
        if self._stopping.is_set():
            return  # or the flow would take again in the midst of its end
        self._tell(partial(self._listener.assigned, tuple(self.assignments), given=given))

    def _hand_over(self) -> None:
        """Have everything finished or given back, and commit what was finished."""
        if self.assignments:
            asyncio.run_coroutine_threadsafe(self._listener.hand_over(), self._loop).result()
            self._partitions.commit_finished(self._client)
