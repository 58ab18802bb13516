"""The partitions that this member of the group has: where each begins, what is committed of it, and what is read again.

Everything here runs in the consumer's thread, much of it in callbacks of its client. Why: docs/adr/0018.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition

from sluicegate.pipeline.errors import ClusterError, SettingsError
from sluicegate.pipeline.kafka.assignment import (
    Assignment,
    Begin,
    Reset,
    incarnation_of,
    place,
    where_to_begin,
)
from sluicegate.pipeline.kafka.onlooker import Onlooker, diverged, log_bounds
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_log = logging.getLogger("sluicegate.consumer")

_ANSWER_S = 5.0
_TRY_AGAIN_S = 0.5


class Partitions:
    """What this member has now.

    Args:
        kafka: The cluster and the group.
        topic: What is read.
        trouble: Gets what stands in the way.
        was_reset: Gets a partition that is read from another place, and where.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        trouble: Callable[[str], None],
        was_reset: Callable[[Partition, Reset], None],
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._trouble = trouble
        self._was_reset = was_reset
        self.assignments: dict[Partition, Assignment] = {}
        """Of each its newest. Another dict with each change: the event loop looks, too."""
        self._fetched: set[Partition] = set()
        """What the client fetches: partitions that could not begin yet are not among them."""
        self._paused = False
        self._again: dict[Partition, int | None] = {}
        """Partitions that are read again, each with the offset that the brokers do not have, if that is why."""
        self._again_at = 0.0
        self._one_by_one = False
        self._committing = False
        self._commit_at = 0.0
        self._onlooker: Onlooker

    def open(self) -> None:
        """Make the client that asks of the topic.

        Raises:
            SettingsError: A file that the security settings name is of no use.
        """
        # Not the member's client: asked for topics within one of its callbacks, it would end the process at the next one.
        self._onlooker = Onlooker(self._kafka, self._topic)

    def go_on(self) -> None:
        """Expect nothing of the client before: another one takes its place, and it answers no commit any more."""
        self._committing = False

    def pause(self, client: Any, *, to: bool) -> None:
        """Fetch nothing of them, or fetch again."""
        if to is self._paused:
            return
        self._paused = to
        places = [TopicPartition(*one) for one in self.assignments]
        if places:
            (client.pause if to else client.resume)(places)

    # Commits.

    def look(self, client: Any) -> None:
        """Commit what is due, and read again what is to be, each at its time."""
        now = time.monotonic()
        if self._again and not self._committing and now >= self._again_at:
            self._read_again(client)
        if self._committing or now < self._commit_at:
            return
        self._commit_at = now + self._kafka.commit_interval_s
        due = self._due()
        if due:
            self._committing = True
            try:
                client.commit(offsets=due, asynchronous=True)
            except KafkaException:  # told to nobody else: it is due again
                self._committing = False

    def committed(self, error: Any, places: Sequence[TopicPartition]) -> None:
        """Note what a client answered to a commit of :meth:`look`."""
        self._committing = False
        if error is not None:
            self._trouble(f"a commit was refused: {error.name()}")
        else:
            self._note_committed(places)

    def commit_finished(self, client: Any) -> None:
        """Commit what is acknowledged, and wait for it; what the flow gave back is read again."""
        self._commit_now(client, self._due())
        for assignment in self.assignments.values():
            if assignment.is_current and assignment.acknowledged < assignment.taken:
                self.end(assignment)  # its partition may stay

    def _due(self) -> list[TopicPartition]:
        due = [one.due() for one in self.assignments.values() if one.is_current]
        return [one for one in due if one is not None]

    def _commit_now(self, client: Any, places: list[TopicPartition]) -> bool:
        """Commit, and wait for the answer; False if it was refused. What is not committed is read again."""
        if not places:
            return True
        try:
            done = client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            _log.warning("commit refused: %s", error.args[0].name())
            return False
        self._note_committed(done)
        return all(one.error is None for one in done)

    def _note_committed(self, places: Sequence[TopicPartition]) -> None:
        for one in places:
            assignment = self.assignments.get((one.topic, one.partition))
            # Behind its position it is of an ended one.
            if one.error is None and assignment is not None and one.offset <= assignment.position:
                assignment.committed = max(assignment.committed, one.offset)

    # Partitions that go, and that are read again while they stay with this member.

    def drop(self, client: Any, places: Iterable[TopicPartition]) -> None:
        """Have these no more."""
        gone = {(one.topic, one.partition) for one in places}
        for one in gone & self.assignments.keys():
            self.assignments[one].is_current = False
        self._again = {one: lost for one, lost in self._again.items() if one not in gone}
        self.assignments = {one: its for one, its in self.assignments.items() if one not in gone}
        self._unassign(client, gone)

    def end(self, assignment: Assignment) -> None:
        """End an assignment; its partition begins again once no commit is under way."""
        assignment.is_current = False
        self._again.setdefault(assignment.partition, None)

    def cut(self, assignment: Assignment) -> None:
        """Find out why the brokers do not have what comes next of it; until then it goes on.

        What retention took does not end it.
        """
        self._again[assignment.partition] = assignment.handed

    def _read_again(self, client: Any) -> None:
        """Begin again.

        Where partitions cannot begin together, one is tried alone the next time: one without a leader holds up no other.
        """
        began = time.monotonic()
        again = {one: lost for one, lost in self._again.items() if one in self.assignments}
        if self._one_by_one and again:
            again = dict([next(iter(again.items()))])
        if not again:
            self._again.clear()
            return
        for one in again:
            del self._again[one]
        if not self._fetched.isdisjoint(again):
            self._unassign(client, set(again))
        self.begin(client, again)
        # At least as long as that took others are read.
        self._again_at = time.monotonic() + max(_TRY_AGAIN_S, time.monotonic() - began)

    def _unassign(self, client: Any, partitions: set[Partition]) -> None:
        client.incremental_unassign([TopicPartition(*one) for one in self._fetched & partitions])
        self._fetched -= partitions

    # Partitions that begin.

    def begin(self, client: Any, partitions: Mapping[Partition, int | None]) -> None:
        """Begin with partitions, each from where its commit and its log say. What cannot begin yet is tried again.

        Args:
            client: The member's.
            partitions: Each with the offset that the brokers do not have, if that is why it begins again.
        """
        starts: list[TopicPartition] = []
        try:
            starts = self._try_to_begin(client, partitions) if partitions else []
            self._one_by_one = False
        except (KafkaException, ClusterError, SettingsError) as error:
            self._trouble(error.args[0].name() if isinstance(error, KafkaException) else str(error))
            self._one_by_one = not self._one_by_one
            self._postpone(partitions)
        # None, too: else the client would assign all of them by itself.
        client.incremental_assign(starts)
        self._fetched |= {(one.topic, one.partition) for one in starts}
        if starts:  # a pause outlives an assignment
            (client.pause if self._paused else client.resume)(starts)

    def _postpone(self, partitions: Mapping[Partition, int | None]) -> None:
        """Keep partitions that could not begin among those that this member has."""
        left = dict(self.assignments)
        for one, lost in partitions.items():
            if one not in left:
                left[one] = Assignment(one, 0, None)
                left[one].is_current = False
            self._again[one] = lost
        self.assignments = left

    def _try_to_begin(self, client: Any, partitions: Mapping[Partition, int | None]) -> list[TopicPartition]:
        incarnation, places = self._where_to_begin(client, partitions)
        begun: dict[Partition, Assignment] = {}
        starts, committed, ended = [], [], []
        for commit, begin in places:
            partition = (commit.topic, commit.partition)
            before = self.assignments.get(partition)
            if begin.reset is not None:
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
        if not self._commit_now(client, committed):
            raise ClusterError("a reset could not be committed")
        for one in ended:
            one.is_current = False
        self.assignments = self.assignments | begun
        for commit, begin in places:
            if begin.reset is not None:
                self._was_reset((commit.topic, commit.partition), begin.reset)
        return starts

    def _where_to_begin(
        self, client: Any, partitions: Mapping[Partition, int | None]
    ) -> tuple[str | None, list[tuple[TopicPartition, Begin]]]:
        """Ask the brokers: the topic's incarnation, and of each partition its commit and where it is read."""
        shape = self._onlooker.shape(within_s=_ANSWER_S)
        if shape is None:
            raise ClusterError("the brokers do not tell of the topic just now")
        incarnation = shape.incarnation
        commits = client.committed([TopicPartition(*one) for one in partitions], timeout=_ANSWER_S)
        bounds = log_bounds(client, partitions, within_s=_ANSWER_S)
        if incarnation is None and any(incarnation_of(one) is not None for one in commits):
            raise ClusterError("the brokers do not name the topic's id just now")
        dated = [one for one in commits if one.offset >= 0 and one.leader_epoch is not None]
        other = diverged(self._kafka, dated, within_s=_ANSWER_S) if dated and not shape.embedded else set()
        places = []
        for commit in commits:
            if commit.error is not None:
                raise KafkaException(commit.error)
            partition = (commit.topic, commit.partition)
            first, end = bounds[partition]
            begin = where_to_begin(
                commit.offset if commit.offset >= 0 else None,
                incarnation_of(commit),
                incarnation,
                lost=partitions[partition],
                diverged=partition in other,
                first=first,
                end=end,
            )
            places.append((commit, begin))
        return incarnation, places
