"""The ledger of candidates: signed facts as records of a topic, read into a history, and written so that all hear them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluicegate.pipeline.errors import CandidateError, ClusterError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.keys import PeopleKeys
from sluicegate.pipeline.shadow.signatures import FactSigner
from sluicegate.pipeline.shadow.states import (
    CandidateFact,
    CandidateHistory,
    CandidateState,
    JudgeDigests,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_TOLD_APART = 64
"""So many different refusals are told; the others are counted."""
_WRITE_S = 5.0
"""For the control topic, once the history has a fact."""
_READ_S, _ANSWER_S = 0.5, 3.0
"""For a read of the history, and for the brokers that lead it to answer where nothing came."""


@dataclass(slots=True)
class SignedHistory:
    """A history that is fed with records. What may not follow changes nothing, is counted, and is told once.

    Args:
        experiment: Whose facts are taken. Those of others stand on the same topic, and are passed over.
        keys: Who may speak, and by which keys.
        told: Gets the reason of a refusal.
    """

    experiment: str
    keys: PeopleKeys
    told: Callable[[str], None] = lambda _why: None
    known: set[str] = field(default_factory=set)
    """Reasons that were told already."""
    history: CandidateHistory = field(init=False)
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.history = CandidateHistory(self.experiment, self.keys.rosters)

    def take(self, value: bytes | None) -> bool:
        """Take a record's value in; True if the history is longer by it."""
        return self.add(self.read(value))

    def read(self, value: bytes | None) -> CandidateFact | CandidateError:
        """What a record says, or why it counts for nothing. It changes nothing, and may run in any thread."""
        try:
            return self.keys.ring.open(value or b"")
        except CandidateError as error:
            return error

    def add(self, fact: CandidateFact | CandidateError) -> bool:
        """Take in what :meth:`read` gave; True if the history is longer by it."""
        if isinstance(fact, CandidateError):
            self._refuse(str(fact))
        elif fact.experiment == self.experiment:
            try:
                return self.history.add(fact)
            except CandidateError as error:
                self._refuse(f"{fact.state} by {fact.by}: {error}")
        return False

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if why not in self.known and len(self.known) < _TOLD_APART:
            self.known.add(why)
            self.told(why)


def fact_key(fact: CandidateFact) -> bytes:
    """The key of a fact's record: each has its own, so that a compacted topic keeps them all."""
    return b" ".join((KEY_PREFIX, fact.experiment.encode(), fact.digest.encode()))


KEY_PREFIX = b"candidate"


@dataclass(frozen=True, slots=True)
class FactToSay:
    """What somebody wants to say of a candidate. Who says it, and what it follows on, is found where it is written."""

    state: CandidateState
    why: str
    roles: tuple[Role, ...]
    """In one of these. The first that the signer has is taken."""
    report: str | None = None
    share: float | None = None
    same_report: bool = False
    """Whether it rests on the report of the newest fact."""
    judges: Callable[[], tuple[JudgeDigests, JudgeDigests]] | None = None
    """Incumbent and candidate, where no fact before names them: for the first, and for a rollback when the history is away."""


@dataclass(frozen=True, slots=True)
class WrittenFact:
    """A fact that the brokers have."""

    fact: CandidateFact
    unheard: str | None
    """Why one of the two topics does not have it; None if both do."""


class FactLedger:
    """Reads and writes the history of one experiment. Blocking.

    Args:
        settings: The cluster, the topics, the experiment and its keys.
        key: File of the private key of who speaks; without, ``candidate.key`` of the settings.

    Raises:
        CandidateError: The settings name no experiment or no keys, or these cannot be used.
    """

    def __init__(self, settings: Settings, key: Path | None = None) -> None:
        experiment = settings.candidate.experiment
        if experiment is None:
            raise CandidateError(
                "candidate.experiment is missing; name the experiment, such as guard-2026-12"
            )
        self._settings = settings
        self._keys = read_keys(settings)
        self._experiment = experiment
        self._key = key or settings.candidate.key

    def read(self) -> CandidateHistory:
        """All that the history says now.

        Raises:
            ClusterError: Its topic cannot be read.
        """
        return self.read_signed().history

    def read_signed(self) -> SignedHistory:
        """The same, with what was refused of it.

        Raises:
            ClusterError: Its topic cannot be read.
        """
        signed = SignedHistory(self._experiment, self._keys)
        with TopicReader(
            self._settings.kafka, [self._settings.topics.candidates], start="beginning"
        ) as reader:
            while True:
                records = reader.read(_READ_S)
                for record in records:
                    signed.take(record.value)
                if reader.at_end:
                    return signed
                # Of a partition that nobody leads reading says nothing, and a rollback must not wait for it.
                if not records:
                    reader.look(within_s=_ANSWER_S)

    def following(self, wanted: FactToSay) -> CandidateFact:
        """The fact that says something in the name of the key's owner, and follows on the newest one.

        Raises:
            CandidateError: The key is nobody's, or its owner may not say this.
            ClusterError: The history cannot be read.
        """
        role, name = self._keys.speaker(read_signer(self._key), wanted.roles)
        try:
            history = self.read()
        except ClusterError:
            if wanted.state is not CandidateState.ROLLED_BACK:
                raise
            history = CandidateHistory(self._experiment, self._keys.rosters)  # a rollback follows on anything
        fact = _following(history, wanted, role, name, self._experiment)
        history.check(fact)
        return fact

    def say(self, fact: CandidateFact) -> WrittenFact:
        """Sign a fact and write it to the history, then to the control topic.

        A rollback counts as written once either of the two has it, since workers read both.

        Raises:
            CandidateError: It did not follow, since somebody else said something at the same moment.
            ClusterError: The brokers do not take it.
        """
        value, topics = read_signer(self._key).sign(fact), self._settings.topics
        faults = self._write(fact, value, [topics.candidates, topics.control])
        is_rollback = fact.state is CandidateState.ROLLED_BACK
        if topics.candidates in faults and not (is_rollback and topics.control not in faults):
            raise ClusterError(
                f"topic {topics.candidates} was not written ({faults[topics.candidates]}); "
                "this user needs Describe, Read and Write on it"
            )
        if topics.candidates not in faults and fact not in self.read().facts:
            raise CandidateError(
                "somebody else said something at the same moment, and it stands before yours; look at the status, and "
                "decide again"
            )
        unheard = [f"topic {topic} does not have it ({why})" for topic, why in faults.items()]
        return WrittenFact(fact, unheard[0] if unheard else None)

    def _write(self, fact: CandidateFact, value: bytes, topics: Iterable[str]) -> dict[str, str]:
        """Write to several topics; why, by topic, where that failed."""
        outcomes: dict[str, Placed | Refused] = {}
        producer = Producer(self._settings.kafka)
        is_urgent = fact.state is CandidateState.ROLLED_BACK
        for topic in topics:
            producer.put(
                topic,
                value,
                fact_key(fact),
                report=lambda outcome, topic=topic: outcomes.__setitem__(topic, outcome),  # type: ignore[misc]
                partition=SHARED_PARTITION,
            )
            if not is_urgent:  # what acts stands in the history first
                producer.flush(_WRITE_S if outcomes else None)
        if is_urgent:
            producer.flush()
        producer.close(_WRITE_S)
        faults = {}
        for topic in topics:
            outcome = outcomes.get(topic)
            if not isinstance(outcome, Placed):
                faults[topic] = outcome.reason if outcome is not None else "no answer in time"
        return faults


def read_keys(settings: Settings) -> PeopleKeys:
    """The public keys of all who may speak.

    Raises:
        CandidateError: There are none, or they cannot be used.
    """
    folder = settings.candidate.keys
    if folder is None:
        raise CandidateError(
            "candidate.keys is missing; give the folder of public keys, such as /etc/sluicegate/keys"
        )
    return PeopleKeys.read(folder)


def read_signer(path: Path | None) -> FactSigner:
    """The private key of somebody who says something.

    Raises:
        CandidateError: It is missing, cannot be read, or is no key.
    """
    if path is None:
        raise CandidateError(
            "candidate.key is missing; give the file of your private key, or set SLUICEGATE_CANDIDATE__KEY"
        )
    try:
        return FactSigner(path.read_bytes())
    except OSError as error:
        raise CandidateError(f"{path}: cannot be read ({error.strerror}); give your private key") from error


def _following(
    history: CandidateHistory, wanted: FactToSay, role: Role, name: str, experiment: str
) -> CandidateFact:
    head = history.head
    if head is not None:
        judges = head.incumbent, head.candidate
    elif wanted.judges is not None:
        judges = wanted.judges()
    else:
        raise CandidateError(f"{experiment} is not registered; `sluicegate candidate register` begins it")
    report = head.report if head is not None and wanted.same_report else wanted.report
    now = datetime.now(UTC)
    try:
        return CandidateFact(
            experiment=experiment,
            follows=None if head is None else head.digest,
            state=wanted.state,
            incumbent=judges[0],
            candidate=judges[1],
            report=report,
            share=wanted.share,
            role=role,
            by=name,
            at=now,
            why=wanted.why,
        )
    except ValueError as error:
        raise CandidateError(f"{wanted.state} cannot be said so: {_first_fault(error)}") from None


def _first_fault(error: ValueError) -> str:
    faults = error.errors(include_url=False, include_input=False) if hasattr(error, "errors") else []
    return str(faults[0]["msg"]).removeprefix("Value error, ") if faults else "a field is wrong"
