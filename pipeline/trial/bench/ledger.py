"""The ledger: every post of a run by its number, when it was sent and what came back. Pure.

What is kept of a post takes 28 bytes with its arrival; everything else is histograms and counts of
bounded size, so that a run may be long.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from dataclasses import astuple, dataclass, field
from datetime import datetime
from itertools import compress
from typing import Any

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.pipeline.text import neutral
from sluicegate.pipeline.trial.bench.load import Arrivals
from sluicegate.pipeline.trial.demo.tally import parse
from sluicegate.schemas import AssessedBy, FailureCode

GROWTH = 1.02
"""Each bucket's upper edge is this many times that of the one below: the error of a percentile."""

_FLOOR_MS = 0.1
_MOST_MS = 7 * 86_400_000.0  # a week; 1,138 buckets in all
_LOG_GROWTH = math.log(GROWTH)


@dataclass(slots=True)
class Histogram:
    """Counts durations in milliseconds. Percentiles are the upper edge of their bucket: up to 2 % too long."""

    count: int = 0
    most_ms: float = 0.0
    _sum_ms: float = 0.0
    _buckets: dict[int, int] = field(default_factory=dict)

    def add(self, ms: float) -> None:
        """Count one; what is negative counts as 0."""
        ms = min(max(0.0, ms), _MOST_MS)
        # The small number: an edge itself belongs to the bucket that ends there.
        bucket = 0 if ms <= _FLOOR_MS else math.ceil(math.log(ms / _FLOOR_MS) / _LOG_GROWTH - 1e-9)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self._sum_ms += ms
        self.most_ms = max(self.most_ms, ms)

    @property
    def mean_ms(self) -> float | None:
        """The mean, exact; None of nothing."""
        return self._sum_ms / self.count if self.count else None

    def percentile_ms(self, share: float) -> float | None:
        """The smallest upper edge that at least this share does not exceed; None of nothing."""
        if not self.count:
            return None
        rank, seen = max(1, math.ceil(share * self.count - 1e-9)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_FLOOR_MS * GROWTH**bucket, self.most_ms)
        raise AssertionError("the counts of the buckets add up to the count")

    def summary(self) -> dict[str, float | None]:
        """Mean, percentiles and maximum as JSON values."""
        return {
            "mean_ms": rounded(self.mean_ms),
            **{f"p{percent}_ms": rounded(self.percentile_ms(percent / 100)) for percent in (50, 95, 99)},
            "max_ms": rounded(self.most_ms) if self.count else None,
        }


def rounded(value: float | None, digits: int = 1) -> float | None:
    """A figure as a report shows it."""
    return None if value is None else round(value, digits)


STAGES = {
    "late": "the bench itself: from the arrival to the hand-over to the Kafka client",
    "topic": "from there to the worker's take: client, broker, and the queue on the topic",
    "queued": "in the worker, from the take to the hand-over to the engine or to the cache hit",
    "engine": "in the engine; 0 where nothing was asked of it",
    "publish": "from the decision to the verdict's record",
    "read": "from the verdict's record to its reading by the bench: broker, and the bench itself",
}
"""Where the time of a post goes, in order."""

_INTERVALS = 200  # of a run, at most
_ENGINES = 8
_SKEW_MS = 5.0  # what a clock is off by before it is said
_MOST_ANSWERS = 255
_FURTHER_IDS = 65_536  # remembered beside the first ones
_REASONS = 16  # Kafka's names of faults; a run meets two or three of them
_OTHER = "other"


@dataclass(slots=True)
class SendInterval:
    """The posts that arrived in one part of the run."""

    latency: Histogram = field(default_factory=Histogram)
    sent: int = 0


class Ledger:
    """Notes what is sent from one thread, and what is read from one other.

    Args:
        run: Names the run in the ids of its posts; letters and digits.
        arrivals: The plan.
        topics: The topics' names.
    """

    def __init__(self, run: str, arrivals: Arrivals, topics: TopicSettings) -> None:
        count = len(arrivals.at_s)
        self.arrivals = arrivals
        self.began_ms = 0.0
        """The start of the run, Unix milliseconds; set before anything is noted."""
        self._prefix = f"bench-{run}-"
        self._dead_letters = topics.dead_letter
        self._topics = {topic: place for place, topic in enumerate(topics.outputs)}
        self._sent_ms = array("d", bytes(8 * count))
        self._event = array("Q", bytes(8 * count))
        self._place = bytearray(count)
        self._answers = bytearray(count)
        self._refused = bytearray(count)  # each post's reason by its place in the list, from 1
        self._reasons: list[str] = []
        self._further: dict[tuple[int, int], int] = {}
        """Where the ids that are not the first of their post stood first."""
        self.sent = self.sent_bytes = self.answered = self.judged = 0
        self.records: Counter[str] = Counter(dict.fromkeys(topics.outputs, 0))
        """Records of this run by output topic, repeats included."""
        self.repeats_same_id = self.repeats_other_id = self.contradictions = 0
        self.foreign = self.skewed = 0
        self.assessed_by: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.engines: Counter[str] = Counter()
        self.latency, self.seen = Histogram(), Histogram()
        self.stages = {name: Histogram() for name in STAGES}
        self.interval_s = max(1.0, math.ceil(arrivals.duration_s / _INTERVALS))
        self.intervals: dict[int, SendInterval] = {}
        self.last_answer_ms = 0.0

    def name(self, number: int) -> str:
        """The id of a post, which is its record's key as well."""
        return f"{self._prefix}{number}"

    def note_sent(self, number: int, *, at_ms: float, size: int) -> None:
        """Note that a post is handed to the Kafka client now."""
        self._sent_ms[number] = at_ms
        self.sent += 1
        self.sent_bytes += size
        self.stages["late"].add(at_ms - self._arrived_ms(number))
        self._interval(number).sent += 1

    def note_refused(self, number: int, reason: str) -> None:
        """Note that the brokers did not take a post, and Kafka's name of the fault; from any thread."""
        reasons = self._reasons
        name = reason if reason in reasons or len(reasons) < _REASONS else _OTHER
        if name not in reasons:
            reasons.append(name)
        # Two threads may add the same one: its first place counts, and that does not move.
        self._refused[number] = reasons.index(name) + 1

    def add(self, record: TopicRecord, *, read_ms: float) -> None:
        """Take one record of an output topic.

        Args:
            record: As it stands.
            read_ms: When it was read, Unix milliseconds.
        """
        document = parse(record.value)
        letter = record.topic == self._dead_letters
        named = (record.key or b"").decode("utf-8", "replace") if letter else document.get("post_id")
        number = self._number(named)
        if number is None:
            self.foreign += 1
            return
        self.records[record.topic] += 1
        event = _digest(document.get("dead_letter_id" if letter else "verdict_id"))
        place = self._topics[record.topic]
        if self._answers[number]:
            self._note_repeat(number, event, place)
            return
        self._answers[number], self._event[number], self._place[number] = 1, event, place
        self.answered += 1
        self.last_answer_ms = max(self.last_answer_ms, read_ms)
        self._note_latency(number, record, read_ms)
        if not letter:
            self._note_verdict(number, document, record, read_ms)

    @property
    def refused(self) -> int:
        """Posts that the brokers did not take; one with an answer was taken, whatever the Kafka client said of it."""
        return sum(not answers for answers in compress(self._answers, self._refused))

    @property
    def refusals(self) -> Counter[str]:
        """Why the brokers did not take the refused posts: Kafka's names, as many as there are posts."""
        pairs = zip(self._refused, self._answers, strict=True)
        return Counter(self._reasons[place - 1] for place, answers in pairs if place and not answers)

    @property
    def waiting(self) -> int:
        """Posts that the brokers took, or may have taken, without an answer."""
        return sum(
            1
            for sent, answers, refused in zip(self._sent_ms, self._answers, self._refused, strict=True)
            if sent and not answers and not refused
        )

    @property
    def settled(self) -> bool:
        """True if as many are answered as were sent and not refused: cheap, and looked at often."""
        return self.answered >= self.sent - self.refused

    @property
    def dead_letters(self) -> int:
        """Dead letter records of this run."""
        return self.records[self._dead_letters]

    @property
    def backlog_bytes(self) -> float:
        """About what stands unanswered."""
        return self.sent_bytes / self.sent * (self.sent - self.answered) if self.sent else 0.0

    def _note_repeat(self, number: int, event: int, place: int) -> None:
        """Compare a further answer with the first one."""
        self._answers[number] = min(self._answers[number] + 1, _MOST_ANSWERS)
        first = event == self._event[number]
        if place != (self._place[number] if first else self._further_place(number, event, place)):
            self.contradictions += 1
        elif first:
            self.repeats_same_id += 1
        else:
            self.repeats_other_id += 1

    def _further_place(self, number: int, event: int, place: int) -> int:
        """Where a further id of a post stood first: here, unless it is remembered from elsewhere."""
        if len(self._further) < _FURTHER_IDS:
            return self._further.setdefault((number, event), place)
        return self._further.get((number, event), place)

    def _note_latency(self, number: int, record: TopicRecord, read_ms: float) -> None:
        arrived_ms = self._arrived_ms(number)
        self.seen.add(read_ms - arrived_ms)
        if record.timestamp_ms is not None:
            self.latency.add(record.timestamp_ms - arrived_ms)
            self._interval(number).latency.add(record.timestamp_ms - arrived_ms)
            self.stages["read"].add(read_ms - record.timestamp_ms)

    def _note_verdict(
        self, number: int, document: dict[str, Any], record: TopicRecord, read_ms: float
    ) -> None:
        self.assessed_by[_known(document.get("assessed_by"), AssessedBy)] += 1
        if isinstance(failure := document.get("failure"), dict):
            self.failures[_known(failure.get("code"), FailureCode)] += 1
        else:
            self.judged += 1
        if isinstance(engine := document.get("engine"), dict):
            parts = dict.fromkeys((str(engine.get("backend")), str(engine.get("model"))))
            name = neutral(" ".join(parts), 64)
            self.engines[name if name in self.engines or len(self.engines) < _ENGINES else _OTHER] += 1
        times = _times(document)
        if times is None:
            return
        published_ms = record.timestamp_ms if record.timestamp_ms is not None else read_ms
        spans = {
            "topic": times.decided_ms - times.total_ms - self._sent_ms[number],
            "queued": times.queued_ms,
            "engine": times.engine_ms,
            "publish": published_ms - times.decided_ms,
        }
        self.skewed += min(spans["topic"], spans["publish"], read_ms - published_ms) < -_SKEW_MS
        for stage, ms in spans.items():
            self.stages[stage].add(ms)

    def _arrived_ms(self, number: int) -> float:
        return self.began_ms + self.arrivals.at_s[number] * 1000

    def _interval(self, number: int) -> SendInterval:
        return self.intervals.setdefault(int(self.arrivals.at_s[number] / self.interval_s), SendInterval())

    def _number(self, name: object) -> int | None:
        """The number of a post of this run that was sent; None for any other name."""
        if not isinstance(name, str) or not name.startswith(self._prefix):
            return None
        digits = name[len(self._prefix) :]
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 7):
            return None
        number = int(digits)
        return number if number < len(self._sent_ms) and self._sent_ms[number] else None


def _digest(event_id: object) -> int:
    """Eight bytes of an event's id: enough to tell repeats of one post apart."""
    return int.from_bytes(hashlib.blake2b(str(event_id).encode("utf-8", "replace"), digest_size=8).digest())


def _known(value: object, names: type[AssessedBy | FailureCode]) -> str:
    """A name that this version knows, or ``other``: what a report lists has a bound."""
    return value if isinstance(value, str) and value in {one.value for one in names} else _OTHER


@dataclass(frozen=True, slots=True)
class _Times:
    """When a verdict was decided, in Unix milliseconds, and its timings."""

    decided_ms: float
    queued_ms: float
    engine_ms: float
    total_ms: float


def _times(document: dict[str, Any]) -> _Times | None:
    """The times on a verdict; None if they cannot be read."""
    try:
        timings = document["timings"]
        found = _Times(
            datetime.fromisoformat(document["judged_at"]).timestamp() * 1000,
            *(float(timings[name]) for name in ("queued_ms", "engine_ms", "total_ms")),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if all(map(math.isfinite, astuple(found))) else None
