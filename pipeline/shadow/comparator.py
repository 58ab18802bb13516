"""The comparator: reads the verdicts of both from their topics, in the order of time, and says what is shown.

Offsets and counts are one file, replaced in one move. What a killed comparator had read and not written is read again, and
counts once. Records for people are sent before the file says so: they may come twice.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson
import structlog

from sluicegate.engines.files import only_one, replacing
from sluicegate.pipeline.errors import CandidateError, ClusterError
from sluicegate.pipeline.kafka.producer import Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.kafka.resumed import ResumedTail, offsets_since
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.records import Partition
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.certificate import CertificateTerms, Ruling
from sluicegate.pipeline.shadow.comparison import Seat
from sluicegate.pipeline.shadow.counting import Counting, Policies
from sluicegate.pipeline.shadow.ledger import FactLedger, FactToSay
from sluicegate.pipeline.shadow.records import SummaryRecord
from sluicegate.pipeline.shadow.states import (
    EVERYWHERE_S,
    CandidateFact,
    CandidateHistory,
    CandidateState,
    Role,
    state_by_time,
)
from sluicegate.pipeline.shadow.summary import Experiment
from sluicegate.schemas import Resolution, Verdict

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

_log = structlog.get_logger(__name__)

_IDLE_S, _BUSY_S = (
    0.2,
    0.02,
)  # a read waits no longer for the first record, and less where another topic has some
_SAVE_S = 1.0  # what a kill may repeat
_SAVE_SHARE = 20  # of the time between two saves, a save takes no more than one part in so many
_FACTS_S, _LOOK_S = 5.0, 10.0
_SUMMARY_S = 60.0
_AGAIN_S = 2.0
_RULED = {Ruling.CERTIFIED: CandidateState.CERTIFIED, Ruling.REJECTED: CandidateState.REJECTED}
_ACTING = {CandidateState.CANARY, CandidateState.PROMOTED, CandidateState.WATCHED}
_COMPARED = {
    CandidateState.SHADOW,
    CandidateState.CERTIFIED,
    CandidateState.REJECTED,
    CandidateState.INCONCLUSIVE,
    *_ACTING,
}

_OPEN = {CandidateState.SHADOW, CandidateState.INCONCLUSIVE}
_WHY = 200


class _Timed(NamedTuple):
    at_ms: int
    """No less than that of the record before on its partition."""
    record: TopicRecord


@dataclass(slots=True)
class _Stream:
    """Topics of one side, and the records of them that wait for their turn."""

    seat: Seat
    tail: ResumedTail
    waiting: deque[_Timed] = field(default_factory=deque)
    is_idle: bool = False
    """True if nothing stood there when it was last asked."""
    _newest: dict[Partition, int] = field(default_factory=dict)

    def fill(self, timeout_s: float) -> None:
        """Read some records, if none waits."""
        if self.waiting:
            return
        timed = []
        for record in self.tail.read(timeout_s):
            place = (record.topic, record.partition)
            self._newest[place] = max(self._newest.get(place, 0), record.timestamp_ms or 0)
            timed.append(_Timed(self._newest[place], record))
        # Within a partition the order stays: the sort is stable, and no time is less than the one before.
        self.waiting.extend(sorted(timed, key=lambda one: one.at_ms))
        self.is_idle = not timed and self.tail.is_idle


class Comparator:
    """Compares the verdicts of one experiment. Blocking: one thread runs it.

    Args:
        settings: The cluster, the topics, the experiment, its policies and its keys.
        until_ruled: Whether it ends once the candidate is certified or rejected.

    Raises:
        CandidateError: The settings name no experiment or no keys.
    """

    def __init__(self, settings: Settings, *, until_ruled: bool = False) -> None:
        self._settings = settings
        self._until_ruled = until_ruled
        self._ledger = FactLedger(settings)
        self._file = settings.candidate.state_file
        self._producer = Producer(settings.kafka)
        self._pending: list[bytes] = []
        """Records for people that the brokers do not have yet."""
        self._summary: bytes | None = None
        """The newest one that they do not have: of several only this one matters."""
        self._unsaved = False
        self._save_at = self._told_at = self._facts_at = self._look_at = 0.0
        self._waits_told = False
        self.trouble: str | None = "the history of the candidate was not read yet"
        """Why nothing is compared just now; None while all is well."""
        self.unreadable = 0
        """Records that were passed over, since they are no verdicts of this major version."""
        self.counting: Counting | None = None
        """What is known; None before the experiment has begun."""
        self._head: CandidateFact | None = None

    def run(self, stop: threading.Event) -> None:
        """Compare until ``stop`` is set, or until it has ruled where that is the end.

        Raises:
            CandidateError: The file of counts is another experiment's, or another comparator's, or the policies are not
                those of the facts.
        """
        lock = self._file.with_name(f"{self._file.name}.lock")
        with ExitStack() as held:
            try:
                held.enter_context(only_one(lock))
            except BlockingIOError as error:
                raise CandidateError(
                    f"another comparator counts in {self._file}; end it, or give this one a candidate.state_file of its own"
                ) from error
            except OSError as error:
                raise CandidateError(
                    f"{lock} cannot be written to ({error.strerror}): give candidate.state_file a place that can be"
                ) from error
            self._run(stop)

    def _run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set() and not self._is_over:
                try:
                    self._follow(stop)
                except ClusterError as error:
                    self._hold(str(error), stop)
            if self.counting is not None and self._unsaved:
                self._save()
        finally:
            self._producer.close(_AGAIN_S)

    @property
    def _is_over(self) -> bool:
        ruled = self.counting is not None and self.counting.concluded is not None
        return self._until_ruled and ruled and not self._owes_a_fact

    @property
    def _owes_a_fact(self) -> bool:
        head = self._head
        has_key = self._settings.candidate.key is not None
        return has_key and head is not None and head.state is CandidateState.SHADOW

    def _hold(self, trouble: str, stop: threading.Event) -> None:
        if trouble != self.trouble:
            _log.error("comparator_holds", why=trouble)
        self.trouble = trouble
        stop.wait(_AGAIN_S)

    # What is compared.

    def _read_facts(self) -> bool:
        """Learn where the candidate stands; whether there is something to compare."""
        history = self._ledger.read()
        self._facts_at = time.monotonic() + _FACTS_S
        self._head = history.head
        experiment = experiment_of(history, self._terms)
        if experiment is None:
            return False
        if self.counting is not None:
            self.counting.experiment = experiment
            return True
        counting = Counting(
            experiment, self._settings.candidate.audit_share, policies_of(self._settings, experiment)
        )
        if self._file.exists():
            counting.restore(self._file.read_bytes())
            self._unsaved = counting.concluded is not None  # a kill may have come before the fact was said
        elif counting.policies is not None:
            # Nobody else judges: what was judged since the experiment began is decided again.
            counting.began_at = _shadow_began(history)
        self.counting = counting
        _log.info(
            "comparing",
            experiment=experiment.name,
            share=experiment.share,
            contents=counting.tally.all.contents,
            redecides=counting.policies is not None,
        )
        return True

    @property
    def _terms(self) -> CertificateTerms:
        return CertificateTerms(**self._settings.candidate.terms.model_dump())

    def _follow(self, stop: threading.Event) -> None:
        while not self._read_facts():
            if not self._waits_told:
                _log.info("comparator_waits", until="the history says that the shadow has begun")
                self._waits_told = True
            self.trouble = "the history does not say that the shadow has begun"
            if stop.wait(_AGAIN_S):
                return
        assert self.counting is not None  # noqa: S101 - read just now
        counting, topics = self.counting, self._settings.topics
        shadow = ResumedTail(self._settings.kafka, [topics.shadow], counting.offsets)
        with shadow:
            streams = [_Stream(Seat.CANDIDATE, shadow)]
            while counting.began_at is None and not stop.is_set():
                self.trouble = "the shadow has judged nothing yet"
                self._turn(streams, counting)
            if counting.began_at is None:
                return
            names, known = (topics.allow, topics.review, topics.block), dict(counting.offsets)
            if not any(topic in names for topic, _ in known):
                known |= offsets_since(self._settings.kafka, names, int(counting.began_at * 1000))
            with ResumedTail(self._settings.kafka, names, known) as live:
                streams.append(_Stream(Seat.INCUMBENT, live))
                self._compare(streams, counting, stop)

    def _compare(self, streams: list[_Stream], counting: Counting, stop: threading.Event) -> None:
        with _Resolutions(self._settings, counting.offsets) as resolutions:
            while not stop.is_set() and not self._is_over:
                self.trouble = None
                self._turn(streams, counting)
                # A decision counts for a verdict: one on a verdict that has not been read yet waits.
                is_idle = all(one.is_idle and not one.waiting for one in streams)
                for record in resolutions.due(None if is_idle else counting.until_at):
                    if (resolution := record.event(Resolution)) is not None:
                        counting.resolve(resolution)
                    self._passed(record, counting)

    def _turn(self, streams: Sequence[_Stream], counting: Counting) -> None:
        """Read, take what is next in time, and write down what is known."""
        if time.monotonic() > self._look_at:
            for stream in streams:  # of brokers that are away reading says nothing
                stream.tail.look(within_s=_AGAIN_S)
            self._look_at = time.monotonic() + _LOOK_S
        is_busy = any(one.waiting for one in streams)
        for stream in streams:
            stream.fill(_BUSY_S if is_busy else _IDLE_S)
        # As long as each has a record or nothing at all: a verdict that is older than the next may not come behind it.
        while all(one.waiting or one.is_idle for one in streams):
            ready = [one for one in streams if one.waiting]
            if not ready:
                break
            stream = min(ready, key=lambda one: one.waiting[0].at_ms)
            self._take(stream.seat, stream.waiting.popleft(), counting)
            stream.is_idle = False
        if time.monotonic() >= self._save_at and self._unsaved:
            self._save()
        if time.monotonic() >= self._facts_at:
            self._read_facts()

    def _take(self, seat: Seat, timed: _Timed, counting: Counting) -> None:
        record = timed.record
        if self._may_count(record, counting):
            verdict = record.event(Verdict)
            if verdict is None:
                self.unreadable += 1
            else:
                asked = counting.take(seat, verdict, timed.at_ms / 1000)
                self._pending += [post.encode() for post in asked]
        self._passed(record, counting)

    def _may_count(self, record: TopicRecord, counting: Counting) -> bool:
        """False for a verdict outside of the sample: to read all of it would cost ten times as much."""
        try:
            found = orjson.loads(record.value or b"")
            return counting.holds(found["tenant"], found["post_id"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self.unreadable += 1
            return False

    def _passed(self, record: TopicRecord, counting: Counting) -> None:
        counting.offsets[record.topic, record.partition] = record.offset + 1
        self._unsaved = True

    # What is written.

    def _save(self) -> None:
        """Send records for people, then write counts and offsets together; then say what is shown.

        Raises:
            ClusterError: The brokers do not take the records. Nothing is written, and nothing is lost.
        """
        assert self.counting is not None  # noqa: S101 - there is something to save
        counting, began = self.counting, time.monotonic()
        summary = counting.summary()
        ruling = Ruling(summary["conclusion"]["ruling"])
        is_new = counting.concluded is None and ruling in _RULED and counting.experiment.state in _OPEN
        if is_new or time.monotonic() >= self._told_at:
            self._summary = SummaryRecord(experiment=counting.experiment.name, document=summary).encode()
            self._told_at = time.monotonic() + _SUMMARY_S
        self._send()
        if is_new:
            counting.concluded = summary
            _log.info("candidate_ruled", ruling=ruling, posts=summary["tally"]["evidence_posts"])
        with replacing(self._file, durable=True) as stream:
            stream.write(counting.encode())
        self._unsaved = False
        # A fact that is said below takes seconds, and is said once: it holds up no save.
        took = time.monotonic() - began
        self._save_at = time.monotonic() + max(_SAVE_S, _SAVE_SHARE * took)
        if counting.concluded is not None and self._owes_a_fact:
            self._say(counting.concluded)
        elif self._head is not None and self._head.state in _ACTING:
            self._look_after(self._head, counting)

    def _send(self) -> None:
        refused: list[str] = []

        def report(outcome: Any) -> None:
            if isinstance(outcome, Refused):
                refused.append(outcome.reason)

        key = self._settings.candidate.experiment or ""
        for value in (*self._pending, *(() if self._summary is None else (self._summary,))):
            self._producer.put(self._settings.topics.comparisons, value, key.encode(), report=report)
        self._producer.flush()
        if refused:
            raise ClusterError(f"topic {self._settings.topics.comparisons} was not written ({refused[0]})")
        self._pending.clear()
        self._summary = None

    def _say(self, summary: dict[str, Any]) -> None:
        """Say what was ruled. Another one may have said something at this moment: the next look tells."""
        state = _RULED[Ruling(summary["conclusion"]["ruling"])]
        posts = summary["tally"]["evidence_posts"]
        why = f"after {posts} posts of evidence: {'; '.join(summary['conclusion']['reasons']) or 'all terms are shown'}"
        wanted = FactToSay(state, why[:_WHY], (Role.MACHINE,), report=report_digest(summary))
        try:
            written = self._ledger.say(self._ledger.following(wanted))
        except CandidateError as error:
            _log.error("fact_not_said", state=state, why=str(error))
            self._read_facts()
        else:
            self._head = written.fact
            _log.info("fact_said", state=state, report=wanted.report)

    def _look_after(self, head: CandidateFact, counting: Counting) -> None:
        """Roll a candidate back that acts, where something is shown against it; else say that it is watched, or has settled."""
        if self._settings.candidate.key is None:
            return
        if reasons := counting.against(head.share):
            _log.error("candidate_rolled_back", reasons=reasons)
            self._say_state(CandidateState.ROLLED_BACK, "; ".join(reasons))
            return
        reached = state_by_time(
            head.state,
            since=head.at.timestamp(),
            alone_since=counting.candidate_since,
            now=counting.until_at,
            compared=counting.acting.posts,
        )
        if reached is CandidateState.WATCHED:
            self._say_state(reached, f"for {EVERYWHERE_S:g} s it alone acted, in every worker")
        elif reached is CandidateState.SETTLED:
            report = report_digest(counting.summary())
            self._say_state(reached, "nothing was shown against it while it was watched", report)

    def _say_state(self, state: CandidateState, why: str, report: str | None = None) -> None:
        wanted = FactToSay(state, why[:_WHY], (Role.MACHINE,), report=report)
        try:
            self._head = self._ledger.say(self._ledger.following(wanted)).fact
        except CandidateError as error:
            _log.error("fact_not_said", state=state, why=str(error))
            self._read_facts()
        else:
            _log.warning("fact_said", state=state, why=why)


class _Resolutions:
    """What people decided, where there is a review desk. Use as a context manager."""

    def __init__(self, settings: Settings, offsets: Mapping[Partition, int]) -> None:
        self._tail = ResumedTail(settings.kafka, [settings.topics.resolutions], offsets)
        self._is_open = False
        self._waiting: deque[_Timed] = deque()

    def __enter__(self) -> Self:
        try:
            self._tail.open()
            self._is_open = True
        except ClusterError as error:
            _log.info("no_reviews", why=str(error))
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._is_open:
            self._tail.close()

    def due(self, until: float | None) -> Iterator[TopicRecord]:
        """What has come, and is no newer than a time.

        Args:
            until: Up to which verdicts were read, in seconds since 1970; None where all were.
        """
        if not self._waiting and self._is_open:
            now = int(time.time() * 1000)  # a record from the future would hold up those behind it
            self._waiting.extend(_Timed(min(one.timestamp_ms or 0, now), one) for one in self._tail.read(0.0))
        while self._waiting and (until is None or self._waiting[0].at_ms <= until * 1000):
            yield self._waiting.popleft().record


def experiment_of(history: CandidateHistory, terms: CertificateTerms) -> Experiment | None:
    """What is to be compared, as facts say it; None where no shadow judges."""
    head = history.head
    shadow = [one for one in history.facts if one.state is CandidateState.SHADOW]
    if head is None or head.state not in _COMPARED or not shadow:
        return None
    return Experiment(
        name=history.experiment,
        share=shadow[-1].share or 1.0,
        incumbent=head.incumbent,
        candidate=head.candidate,
        terms=terms,
        state=head.state,
    )


def _shadow_began(history: CandidateHistory) -> float:
    return next(one.at.timestamp() for one in history.facts if one.state is CandidateState.SHADOW)


def policies_of(settings: Settings, experiment: Experiment) -> Policies | None:
    """Both policies, where the candidate is a policy alone; None where it has another engine, too.

    Raises:
        CandidateError: The files are not the policies that the facts name.
    """
    one, other = experiment.incumbent, experiment.candidate
    if set(one.engines) != set(other.engines) or settings.candidate.policy is None:
        return None
    adapters = settings.engine.adapters
    found = [
        PolicyFile(path, adapters=adapters).current
        for path in (settings.policy.path, settings.candidate.policy)
    ]
    for policy, wanted, name in zip(found, (one, other), ("policy.path", "candidate.policy"), strict=True):
        if policy.digest != wanted.policy:
            raise CandidateError(
                f"{name} has digest {policy.digest}, and the facts name {wanted.policy}; give the file that was registered"
            )
    return Policies(*found)


def report_digest(summary: dict[str, Any]) -> str:
    """What a fact calls a summary: the digest of its JSON text with sorted keys."""
    text = orjson.dumps(summary, option=orjson.OPT_SORT_KEYS)
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
