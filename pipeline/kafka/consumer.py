"""The consumer: one thread that owns this member's client of the group, and hands records on by the chunk.

Everything here runs in that thread, but what says otherwise. A reset is a decision of ours
(``auto.offset.reset=error``): it is committed before a record behind it is handed on, and what was read before
it is acknowledged no more. Why: docs/adr/0018.
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
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sluicegate.pipeline.errors import ClusterError, SettingsError
from sluicegate.pipeline.kafka.assignment import (
    Assignment,
    Chunk,
    KafkaDelivery,
    Reset,
    incarnation_of,
    place,
    where_to_begin,
)
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.topics import CUT, Onlooker, diverged, log_bounds
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_log = logging.getLogger("sluicegate.consumer")
_librdkafka = logging.getLogger("librdkafka")  # its own lines on stderr would not be JSON

_POLL_S = 0.1
_AT_ONCE = 500  # records of one call: enough to amortise it, few enough to be taken in a moment
_BREATH_S = 0.02  # between two looks for room
# A buffer that is full for longer pauses its partitions, so that the group still hears of us.
_PATIENCE_S = 0.5
_ANSWER_S = 5.0
_TRY_AGAIN_S = 0.5
_REFRESH_MS = 10_000  # a partition that is added is read after this time
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
        self._assignments: dict[Partition, Assignment] = {}
        self._handed = self._handed_bytes = 0
        self._taken = self._taken_bytes = 0
        self._room = threading.Event()
        self._paused = False
        self._full_since: float | None = None
        self._stopping = threading.Event()
        self._again: dict[Partition, int | None] = {}
        """Partitions that are read again, each with the offset that the brokers do not have, if that is why."""
        self._again_at = 0.0
        self._one_by_one = False
        self._fetched: set[Partition] = set()
        """What the client fetches: partitions that could not begin yet are not among them."""
        self._requests: SimpleQueue[tuple[Partition, ...]] = SimpleQueue()
        self._committing = False
        self._commit_at = 0.0
        self._troubles: set[str] = set()
        self._rebalancing = False
        self._seen_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]
        self._client: Any = None
        self._onlooker: Onlooker

    # What others may ask, in the event loop.

    def start(self) -> asyncio.Future[None]:
        """Begin; the future ends with the thread, and has what ended it.

        Raises:
            SettingsError: A file that the security settings name is of no use.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._client = self._make_member()
        # Not the member's client: asked for topics within one of its callbacks, it would end the process at the next one.
        self._onlooker = Onlooker(self._kafka, self._topic)
        self._thread.start()
        return self._ended

    def stop(self) -> None:
        """Begin to leave: everything is handed over and committed before."""
        self._stopping.set()
        self._room.set()

    @property
    def assignments(self) -> dict[Partition, Assignment]:
        """What this member has now."""
        return self._assignments

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
        self._requests.put(tuple(partitions))

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
            "topic.metadata.refresh.interval.ms": _REFRESH_MS,
            "queued.max.messages.kbytes": min(most, max(least, self._most_bytes // 1024)),
            "queued.min.messages": _FETCH_BELOW,
            "max.partition.fetch.bytes": _FETCH_BYTES,
            "fetch.queue.backoff.ms": 10,  # librdkafka's own second starves a fast worker
            "fetch.wait.max.ms": 100,  # the mock cluster lets an empty fetch wait so long, whatever comes meanwhile
            "on_commit": self._committed,
        }

    def _make_member(self) -> Any:
        return self._make_client(self.options(), logger=_librdkafka)

    def _renewed(self) -> Any | None:
        """Another client where the new credentials want one; None while the one that there is may go on."""
        if not self._credentials.look(self._client):
            return None
        try:
            return self._make_member()
        except (SettingsError, KafkaException):  # a file has gone since
            self._credentials.forget()
            return None

    def _run(self) -> None:
        fault: BaseException | None = None
        try:
            while (renewed := self._read_on()) is not None:
                # The new credentials are good: leave with the client that has the old ones, and join again.
                self._client.close()
                self._client, self._committing = renewed, False  # the one before answers nothing any more
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
        while not self._stopping.is_set() and (renewed := self._renewed()) is None:
            self._meet_requests()
            self._commit_at_times()
            self._hand_on(self._fetch())
        self._hand_over()
        return renewed

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
            self._pause(to=True)
        elif self._full_since is not None:
            self._full_since = None
            self._pause(to=False)
        first = self._client.poll(_POLL_S)
        return [] if first is None else [first, *self._client.consume(_AT_ONCE - 1, timeout=0)]

    @property
    def _is_full(self) -> bool:
        records, size = self._handed - self._taken, self._handed_bytes - self._taken_bytes
        return records >= self._most_records or size >= self._most_bytes

    def _pause(self, *, to: bool) -> None:
        if to is self._paused:
            return
        self._paused = to
        places = [TopicPartition(*one) for one in self._assignments]
        if places:
            (self._client.pause if to else self._client.resume)(places)

    def _hand_on(self, messages: Sequence[Any]) -> None:
        by_assignment: dict[Assignment, list[KafkaDelivery]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._meet(message, error)
                continue
            assignment = self._assignments.get((message.topic(), message.partition()))
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
        partition, code = (message.topic(), message.partition()), error.code()
        assignment = self._assignments.get(partition)
        if code == _EOF:
            if assignment is not None:
                assignment.see_end(message.offset())
                self._troubles.clear()
        elif code in CUT:
            if assignment is not None and assignment.is_current:
                # It goes on until it is known why: what retention took does not end it.
                self._again[partition] = assignment.handed
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

    # Commits.

    def _commit_at_times(self) -> None:
        now = time.monotonic()
        if self._again and not self._committing and now >= self._again_at:
            self._read_again()
        if self._committing or now < self._commit_at:
            return
        self._commit_at = now + self._kafka.commit_interval_s
        due = self._due()
        if due:
            self._committing = True
            try:
                self._client.commit(offsets=due, asynchronous=True)
            except KafkaException:  # told to nobody else: it is due again
                self._committing = False

    def _due(self) -> list[TopicPartition]:
        due = [one.due() for one in self._assignments.values() if one.is_current]
        return [one for one in due if one is not None]

    def _committed(self, error: Any, places: Sequence[TopicPartition]) -> None:
        self._committing = False
        if error is not None:
            self._trouble(f"a commit was refused: {error.name()}")
        self._note_committed([one for one in places if one.error is None] if error is None else [])

    def _note_committed(self, places: Sequence[TopicPartition]) -> None:
        for one in places:
            assignment = self._assignments.get((one.topic, one.partition))
            if assignment is not None and one.offset <= assignment.position:  # else it is of an ended one
                assignment.committed = max(assignment.committed, one.offset)

    def _commit_now(self, places: list[TopicPartition]) -> bool:
        """Commit, and wait for the answer; False if it was refused. What is not committed is read again."""
        if not places:
            return True
        try:
            done = self._client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            _log.warning("commit refused: %s", error.args[0].name())
            return False
        self._note_committed([one for one in done if one.error is None])
        return all(one.error is None for one in done)

    # Assignments that come and go.

    def _assign(self, _client: Any, places: Sequence[TopicPartition]) -> None:
        self._rebalancing = True
        try:
            self._begin({(one.topic, one.partition): None for one in places})
            self._tell_assigned(given=True)
        finally:
            self._rebalancing = False

    def _revoke(self, client: Any, places: Sequence[TopicPartition]) -> None:
        self._rebalancing = True
        try:
            self._hand_over()
            self._drop(client, places)
            self._tell_assigned(given=False)
        finally:
            self._rebalancing = False

    def _lose(self, client: Any, places: Sequence[TopicPartition]) -> None:
        # Somebody else may have them already.
        self._drop(client, places)
        self._tell(self._listener.lost)

    def _tell_assigned(self, *, given: bool) -> None:
        if self._stopping.is_set():
            return  # or the flow would take again in the midst of its end
        self._tell(partial(self._listener.assigned, tuple(self._assignments), given=given))

    def _hand_over(self) -> None:
        """Have everything finished or given back, and commit what was finished."""
        if not self._assignments:
            return
        asyncio.run_coroutine_threadsafe(self._listener.hand_over(), self._loop).result()
        self._commit_now(self._due())
        for assignment in self._assignments.values():
            if assignment.is_current and assignment.acknowledged < assignment.taken:
                self._read_again_later(assignment)  # what was given back, of a partition that may stay

    def _drop(self, client: Any, places: Iterable[TopicPartition]) -> None:
        left = dict(self._assignments)
        for one in places:
            partition = (one.topic, one.partition)
            self._again.pop(partition, None)
            ended = left.pop(partition, None)
            if ended is not None:
                ended.is_current = False
        self._assignments = left
        gone = {(one.topic, one.partition) for one in places} & self._fetched
        self._fetched -= gone
        client.incremental_unassign([TopicPartition(*one) for one in gone])

    def _read_again_later(self, assignment: Assignment) -> None:
        """End an assignment; its partition begins again once no commit is under way."""
        assignment.is_current = False
        self._again.setdefault(assignment.partition, None)

    def _meet_requests(self) -> None:
        while not self._requests.empty():
            for partition in self._requests.get():
                assignment = self._assignments.get(partition)
                if assignment is not None:
                    self._read_again_later(assignment)

    def _read_again(self) -> None:
        """Begin again with partitions whose assignments ended, or could not begin, while they stay with this member.

        Where they cannot begin together, one is tried alone the next time: a partition without a leader holds up no other.
        """
        began = time.monotonic()
        again = {one: lost for one, lost in self._again.items() if one in self._assignments}
        if self._one_by_one and again:
            again = dict([next(iter(again.items()))])
        if not again:
            self._again.clear()
            return
        for one in again:
            del self._again[one]
        if fetched := [TopicPartition(*one) for one in again if one in self._fetched]:
            self._client.incremental_unassign(fetched)
            self._fetched -= again.keys()
        self._begin(again)
        # At least as long as that took others are read.
        self._again_at = time.monotonic() + max(_TRY_AGAIN_S, time.monotonic() - began)

    def _begin(self, partitions: Mapping[Partition, int | None]) -> None:
        """Begin with partitions, each from where its commit and its log say. What cannot begin yet is tried again."""
        starts: list[TopicPartition] = []
        try:
            starts = self._try_to_begin(partitions) if partitions else []
            self._one_by_one = False
        except (KafkaException, ClusterError, SettingsError) as error:
            self._trouble(error.args[0].name() if isinstance(error, KafkaException) else str(error))
            self._one_by_one = not self._one_by_one
            self._postpone(partitions)
        # None, too: else the client would assign all of them by itself.
        self._client.incremental_assign(starts)
        self._fetched |= {(one.topic, one.partition) for one in starts}
        if starts:  # a pause outlives an assignment
            (self._client.pause if self._paused else self._client.resume)(starts)

    def _postpone(self, partitions: Mapping[Partition, int | None]) -> None:
        """Keep partitions that could not begin among those that this member has."""
        left = dict(self._assignments)
        for one, lost in partitions.items():
            if one not in left:
                left[one] = Assignment(one, 0, None)
                left[one].is_current = False
            self._again[one] = lost
        self._assignments = left

    def _try_to_begin(self, partitions: Mapping[Partition, int | None]) -> list[TopicPartition]:
        shape = self._onlooker.shape(within_s=_ANSWER_S)
        if shape is None:
            raise ClusterError("the brokers do not tell of the topic just now")
        incarnation = shape.incarnation
        commits = self._client.committed([TopicPartition(*one) for one in partitions], timeout=_ANSWER_S)
        bounds = log_bounds(self._client, partitions, within_s=_ANSWER_S)
        if incarnation is None and any(incarnation_of(one) is not None for one in commits):
            raise ClusterError("the brokers do not name the topic's id just now")
        dated = [one for one in commits if one.offset >= 0 and one.leader_epoch is not None]
        other = diverged(self._kafka, dated, within_s=_ANSWER_S) if dated and not shape.embedded else set()
        begun: dict[Partition, Assignment] = {}
        resets: dict[Partition, Reset] = {}
        starts, committed, ended = [], [], []
        for commit in commits:
            if commit.error is not None:
                raise KafkaException(commit.error)
            partition = (commit.topic, commit.partition)
            begin = where_to_begin(
                commit.offset if commit.offset >= 0 else None,
                incarnation_of(commit),
                incarnation,
                lost=partitions[partition],
                diverged=partition in other,
                first=bounds[partition][0],
                end=bounds[partition][1],
            )
            before = self._assignments.get(partition)
            if begin.reset is not None:
                resets[partition] = begin.reset
                if before is not None and before.is_current and begin.reset.how == "missed":
                    # What is in hand can be read nowhere any more: it is answered and acknowledged as before.
                    starts.append(place(partition, begin.offset, None))
                    continue
                committed.append(place(partition, begin.offset, incarnation))
            ended += [before] if before is not None else []
            begun[partition] = Assignment(partition, begin.offset, incarnation)
            goes_on = begin.reset is None and commit.offset >= 0
            starts.append(place(partition, begin.offset, None, commit.leader_epoch if goes_on else None))
        # Before anything is handed on: the log may grow past the old commit, and then nobody could tell.
        if not self._commit_now(committed):
            raise ClusterError("a reset could not be committed")
        for one in ended:
            one.is_current = False
        self._assignments = self._assignments | begun
        for partition, reset in resets.items():
            self._tell(self._listener.was_reset, partition, reset)
        return starts
