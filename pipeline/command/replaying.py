"""Sending dead letters' records again, and the notes that keep a second run from doing it twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.dead_letters import Original, ReplayNote, identity, original, replayed_from
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION
from sluicegate.pipeline.records import Headers
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


Did = Literal[
    "replayed", "would be replayed", "already replayed", "came back", "refused", "not delivered", "not noted"
]
TROUBLES = frozenset({"refused", "not delivered", "not noted"})
"""What a person has to look at."""

_TOGETHER = 50  # this many may come twice if the command is killed; this many payloads are in memory


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What became of one dead letter."""

    dead_letter_id: str
    did: Did
    detail: str = ""


def noted(settings: Settings) -> dict[str, ReplayNote]:
    """The newest note on every replay so far, by :func:`~sluicegate.pipeline.dead_letters.identity`. Blocking.

    Raises:
        ClusterError: The control topic is missing or cannot be read.
    """
    notes: dict[str, ReplayNote] = {}
    with TopicReader(settings.kafka, [settings.topics.control], start="beginning") as reader:
        for record in reader.read_all():
            note = ReplayNote.decode(record.value)
            if note is None or record.key is None:
                continue
            name = record.key.decode(errors="replace")
            # Read last is not written last: of a topic with several partitions a key may be in two.
            if name not in notes or note.at >= notes[name].at:
                notes[name] = note
    return notes


class LetterReplay:
    """One run of a replay. Blocking.

    A record is sent, then noted. Killed between the two, it is sent again by the next run: twice
    rather than never, like everything else on these topics.

    Args:
        settings: The cluster and its topics.
        notes: Replays so far.
        to: Topic to send to; None for each one's own.
        again: Send what was replayed before, too.
        dry_run: Send nothing.
        limit: Most records sent.
    """

    def __init__(
        self,
        settings: Settings,
        notes: Mapping[str, ReplayNote],
        *,
        to: str | None,
        again: bool,
        dry_run: bool,
        limit: int | None,
    ) -> None:
        self._settings = settings
        self._notes = notes
        self._to = to
        self._again = again
        self._dry_run = dry_run
        self._limit = limit
        self._count = 0
        self._sent_ids: set[str] = set()
        self._producer = Producer(settings.kafka)
        self._partitions = self._producer.partitions()

    def run(self, letters: Iterable[DeadLetter]) -> Iterator[ReplayOutcome]:
        """Work through the letters; each gets one outcome, in any order."""
        waiting: list[tuple[DeadLetter, Original]] = []
        for letter in letters:
            decided = self._decide(letter)
            if isinstance(decided, ReplayOutcome):
                yield decided
                if decided.did != "would be replayed":
                    continue
            else:
                waiting.append((letter, decided))
            self._count += 1
            self._sent_ids.add(letter.dead_letter_id)
            if len(waiting) == _TOGETHER:
                yield from self._send(waiting)
                waiting = []
            if self._count == self._limit:
                break
        yield from self._send(waiting)

    def _decide(self, letter: DeadLetter) -> ReplayOutcome | Original:
        named = letter.dead_letter_id
        # What this run sent may be rejected while it still reads: to follow that would never end.
        if replayed_from(letter) in self._sent_ids:
            return ReplayOutcome(named, "came back", "rejected again during this run")
        note = self._notes.get(identity(letter))
        if note is not None and not self._again:
            return ReplayOutcome(
                named, "already replayed", f"to {note.topic} at {note.at}; --again sends it again"
            )
        found = original(letter)
        if isinstance(found, str):
            return ReplayOutcome(named, "refused", found)
        target = self._target(letter)
        if target not in self._partitions:
            return ReplayOutcome(named, "refused", f"topic {target} does not exist")
        return ReplayOutcome(named, "would be replayed", f"to {target}") if self._dry_run else found

    def _target(self, letter: DeadLetter) -> str:
        return self._to or letter.origin.topic

    def _send(self, waiting: list[tuple[DeadLetter, Original]]) -> Iterator[ReplayOutcome]:
        unsent: dict[str, str] = {}
        for letter, record in waiting:
            topic, origin = self._target(letter), letter.origin
            # Its own partition, whichever partitioner chose it: there the key's other records are in order.
            own = topic == origin.topic and origin.partition < self._partitions[topic]
            where = origin.partition if own else None
            self._produce(
                unsent, letter, topic, record.value, record.key, headers=record.headers, partition=where
            )
        self._flush()
        unnoted: dict[str, str] = {}
        for letter, _ in waiting:
            if not unsent[identity(letter)]:
                note = ReplayNote(self._target(letter), _now()).encode()
                key = identity(letter).encode()
                control = self._settings.topics.control
                self._produce(unnoted, letter, control, note, key, partition=SHARED_PARTITION)
        self._flush()
        for letter, _ in waiting:
            named, topic = letter.dead_letter_id, self._target(letter)
            if error := unsent[identity(letter)]:
                yield ReplayOutcome(named, "not delivered", f"to {topic}: {error}")
            elif error := unnoted[identity(letter)]:
                yield ReplayOutcome(
                    named, "not noted", f"sent to {topic}; the next run sends it again: {error}"
                )
            else:
                yield ReplayOutcome(named, "replayed", f"to {topic} as try {letter.tries + 1}")

    def _produce(
        self,
        errors: dict[str, str],
        letter: DeadLetter,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Send one record; ``errors`` gets its error under the letter's identity, or an empty text."""

        def reported(outcome: Placed | Refused) -> None:
            errors[identity(letter)] = outcome.reason if isinstance(outcome, Refused) else ""

        errors[identity(letter)] = "no answer in time"
        self._producer.put(topic, value, key, headers, report=reported, partition=partition)

    def _flush(self) -> None:
        self._producer.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
