"""States: what became of a candidate, as facts that each follow on another. Pure: it reads no topic and writes none.

Every fact names the digest of the one before, who is compared with whom, and the report that it rests on. A history
takes a fact only if it may follow. So all who read the same facts know the same state, and a fact that was changed,
left out or made by the wrong person changes nothing. A rollback is the exception: it counts whatever it follows on, since
others may say something at that moment, or have said something that this reader refused.

A name in a fact is what its writer claims. Who may write to the topic has to be limited where facts are not signed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.facts import Digest, Line
from sluicegate.pipeline.policy.document import TenantName
from sluicegate.pipeline.shadow.comparison import Judges
from sluicegate.pipeline.shadow.sample import ShadowSample

MOST_BYTES = 8_192
"""A fact has no more, whatever stands in its fields."""
MOST_FACTS = 256
"""In one history. A rollback always has room."""
MOST_ENGINES = 16
"""That one fact names of either side."""
WATCH_S = 7 * 86_400.0
"""For how long a promotion is watched before it settles."""
EVERYWHERE_S = 60.0
"""For so long no worker let the incumbent act: all know of the promotion."""


class CandidateState(StrEnum):
    """Where a candidate stands."""

    REGISTERED = "registered"
    GATED = "gated"
    """It passed the gate on labelled rows."""
    SHADOW = "shadow"
    """It judges beside the incumbent, and acts on nothing."""
    CERTIFIED = "certified"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"
    CANARY = "canary"
    """It acts on a share of the posts of tenants that agreed to it."""
    PROMOTED = "promoted"
    """It acts on all posts."""
    WATCHED = "watched"
    """All workers have it, and the time runs after which it settles."""
    SETTLED = "settled"
    ROLLED_BACK = "rolled_back"
    """The incumbent acts on all posts again. That is the end: another try is another experiment."""


class Role(StrEnum):
    """As what somebody speaks."""

    MACHINE = "machine"
    """The gate, the comparator or a worker."""
    EDITOR = "editor"
    """Brings a candidate, and starts its shadow."""
    APPROVER = "approver"
    """Lets it act. For one experiment nobody is both."""


_EVERY = frozenset(Role)
_MACHINE, _EDITOR, _APPROVER = (frozenset({role}) for role in Role)
_S = CandidateState
_FIRST = {_S.REGISTERED: _EDITOR}
_MOVES: dict[CandidateState, dict[CandidateState, frozenset[Role]]] = {
    _S.REGISTERED: {_S.GATED: _MACHINE | _EDITOR},
    _S.GATED: {_S.SHADOW: _EDITOR},
    _S.SHADOW: {
        _S.SHADOW: _EDITOR,  # with another share
        _S.CERTIFIED: _MACHINE,
        _S.REJECTED: _MACHINE,
        _S.INCONCLUSIVE: _MACHINE | _EDITOR,
    },
    _S.CERTIFIED: {_S.CANARY: _APPROVER},
    _S.REJECTED: {},
    _S.INCONCLUSIVE: {_S.SHADOW: _EDITOR},  # more posts: evidence may be looked at again
    _S.CANARY: {_S.CANARY: _APPROVER, _S.PROMOTED: _APPROVER},
    _S.PROMOTED: {_S.WATCHED: _MACHINE},
    _S.WATCHED: {_S.SETTLED: _MACHINE | _APPROVER},
    _S.SETTLED: {},
    _S.ROLLED_BACK: {},
}
"""From each state: which may follow, and who may say so. To a rollback any may go, and anybody may say so."""
_WITH_A_SHARE = {_S.SHADOW, _S.CANARY}
_WITH_A_REPORT = {
    _S.GATED,
    _S.CERTIFIED,
    _S.REJECTED,
    _S.INCONCLUSIVE,
    _S.CANARY,
    _S.PROMOTED,
    _S.SETTLED,
}
_ACTS_ON_ALL = {_S.PROMOTED, _S.WATCHED, _S.SETTLED}


def state_by_time(
    state: CandidateState, *, since: float, alone_since: float | None, now: float, compared: int
) -> CandidateState | None:
    """What time makes of a candidate that acts and against which nothing is shown; None while it stays what it is.

    Args:
        state: Where it stands.
        since: When that was said, in unix seconds.
        alone_since: Since when no worker lets the incumbent act; None while one does.
        now: The newest time that was read from the stream.
        compared: Posts of evidence since it acts. Who compared nothing has shown nothing.
    """
    if state is _S.PROMOTED and alone_since is not None and now - alone_since >= EVERYWHERE_S:
        return _S.WATCHED
    if state is _S.WATCHED and compared > 0 and now - since >= WATCH_S:
        return _S.SETTLED
    return None


class JudgeDigests(BaseModel):
    """Who judges: what its verdicts name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    engines: Annotated[tuple[Digest, ...], Field(strict=False, min_length=1, max_length=MOST_ENGINES)] = (
        Field(description="All that may answer: the engine's bundle, those of adapters, and the screen.")
    )
    policy: Digest

    @property
    def judges(self) -> Judges:
        """Whose verdicts to compare."""
        return Judges(frozenset(self.engines), self.policy)


class CandidateFact(BaseModel):
    """One fact about one candidate. A field that is not known is refused: the digest speaks for all of it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["candidate"] = "candidate"
    experiment: TenantName = Field(description="Its name, in the characters of a tenant's.")
    follows: Digest | None = Field(description="Digest of the fact before; null for the first one.")
    state: Annotated[CandidateState, Field(strict=False)]
    incumbent: JudgeDigests
    candidate: JudgeDigests
    report: Digest | None = Field(None, description="Digest of the report that it rests on.")
    share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Which share of the posts the candidate judges or acts on."
    )
    role: Annotated[Role, Field(strict=False)]
    by: Line = Field(description="A person's name, or a machine's.")
    at: Annotated[AwareDatetime, Field(strict=False)]
    why: Line

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.incumbent.judges == self.candidate.judges:
            raise ValueError("incumbent and candidate are the same; name two that differ")
        if (self.share is not None) != (self.state in _WITH_A_SHARE):
            raise ValueError("a share stands with shadow and canary, and with nothing else")
        if self.state in _WITH_A_REPORT and self.report is None:
            raise ValueError(f"{self.state} rests on a report; name its digest")
        return self

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a record's value.

        Raises:
            CandidateError: It is no fact about a candidate.
        """
        if len(value) > MOST_BYTES:
            raise CandidateError(
                f"a fact has {len(value)} bytes, and may have {MOST_BYTES}; shorten what it says"
            )
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"])) or "fact"
            raise CandidateError(
                f"{place}: {first['msg']}; a newer release may have written it, so bring this one up to date"
            ) from None

    def encode(self) -> bytes:
        """The record's value: one text for one fact."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @property
    def digest(self) -> str:
        """What the next fact calls this one."""
        return f"sha256:{hashlib.sha256(self.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Rosters:
    """Who may speak as what, by name. A name that stands nowhere may say nothing.

    Keep a name for as long as a fact of a history bears it, also of somebody who left: without it the fact is refused,
    what follows on it is, too, and the incumbent acts again.

    Raises:
        CandidateError: A machine has the name of a person, who could then certify and approve.
    """

    machines: frozenset[str]
    editors: frozenset[str]
    approvers: frozenset[str]

    def __post_init__(self) -> None:
        both = {*map(_person, self.machines)} & {*map(_person, self.editors | self.approvers)}
        if both:
            raise CandidateError(f"{min(both)} is a machine and a person; give the machine a name of its own")

    def lists(self, role: Role, name: str) -> bool:
        """Whether somebody may speak in a role."""
        listed = {Role.MACHINE: self.machines, Role.EDITOR: self.editors, Role.APPROVER: self.approvers}
        return name in listed[role]


@dataclass(slots=True)
class CandidateHistory:
    """What is known of one experiment. Feed it facts in the order of their topic with :meth:`add`.

    Args:
        experiment: Its name. Facts of others are refused.
        rosters: Who may speak as what.
        watch_s: For how long a promotion is watched.
    """

    experiment: str
    rosters: Rosters
    watch_s: float = WATCH_S
    _facts: dict[str, CandidateFact] = field(default_factory=dict, init=False)
    _head: CandidateFact | None = field(default=None, init=False)

    @property
    def facts(self) -> list[CandidateFact]:
        """All facts, oldest first."""
        return [*self._facts.values()]

    @property
    def head(self) -> CandidateFact | None:
        """The newest fact."""
        return self._head

    @property
    def state(self) -> CandidateState | None:
        """Where the candidate stands; None before it is registered."""
        return None if self._head is None else self._head.state

    def acts_on(self, tenant: str, post_id: str, *, agreed: bool) -> bool:
        """Whether the candidate's verdict on a post counts. In every other case the incumbent's does.

        Args:
            tenant: Whose post it is.
            post_id: Its id.
            agreed: Whether the tenant agreed to canaries.
        """
        if self._head is None:
            return False
        if self._head.state is CandidateState.CANARY and agreed and self._head.share is not None:
            return ShadowSample(self.experiment, self._head.share).holds(tenant, post_id)
        return self._head.state in _ACTS_ON_ALL

    def add(self, fact: CandidateFact) -> bool:
        """Take a fact in; False if it is known already, since records may come twice.

        Raises:
            CandidateError: It may not follow. Nothing has changed.
        """
        if fact.digest in self._facts:
            return False
        self.check(fact)
        self._facts[fact.digest] = self._head = fact
        return True

    def check(self, fact: CandidateFact) -> None:
        """Return if a fact may follow now.

        Raises:
            CandidateError: It may not. The message says who may do what instead.
        """
        if fact.experiment != self.experiment:
            raise CandidateError(
                f"it is about {fact.experiment}, and this is {self.experiment}; give it there"
            )
        if not self.rosters.lists(fact.role, fact.by):
            raise CandidateError(f"{fact.by} is no {fact.role} here; ask one, or put the name on the list")
        if fact.state is CandidateState.ROLLED_BACK:
            if self.state is CandidateState.ROLLED_BACK:
                raise CandidateError("the candidate is rolled back already; nothing is left to do")
            return
        self._check_two_people(fact)
        self._check_place(fact)
        self._check_grounds(fact)

    def _check_two_people(self, fact: CandidateFact) -> None:
        before = {one.role for one in self.facts if _person(one.by) == _person(fact.by)}
        if {*before, fact.role} >= {Role.EDITOR, Role.APPROVER}:
            spoke = Role.EDITOR if Role.EDITOR in before else Role.APPROVER
            raise CandidateError(
                f"{fact.by} spoke as {spoke} in this experiment, and two people are needed; let another one say it"
            )

    def _check_place(self, fact: CandidateFact) -> None:
        head = self._head
        moves = _FIRST if head is None else _MOVES[head.state]
        if fact.follows != (None if head is None else head.digest):
            raise CandidateError("it does not follow on the newest fact; read that one, and decide again")
        if fact.state not in moves:
            is_over = self.state is CandidateState.ROLLED_BACK
            may = "nothing may" if is_over else f"{' or '.join([*moves, _S.ROLLED_BACK])} may"
            raise CandidateError(f"{fact.state} may not follow on {self.state or 'nothing'}; {may}")
        if fact.role not in moves[fact.state]:
            who = " or ".join(sorted(moves[fact.state]))
            raise CandidateError(f"only {who} may say that a candidate is {fact.state}; ask one")
        if len(self._facts) >= MOST_FACTS:
            raise CandidateError(
                f"there are {MOST_FACTS} facts already; roll back, and begin another experiment"
            )

    def _check_grounds(self, fact: CandidateFact) -> None:
        head = self._head
        if head is None:
            return
        if (fact.incumbent, fact.candidate) != (head.incumbent, head.candidate):
            raise CandidateError(
                f"it names other digests than {head.state} did; register another experiment for them"
            )
        if head.state is CandidateState.CERTIFIED and fact.report != head.report:
            raise CandidateError(
                "it rests on another report than the certificate; name the certificate's report"
            )
        if fact.state is CandidateState.SETTLED and (fact.at - head.at).total_seconds() < self.watch_s:
            raise CandidateError(f"it was watched for less than {self.watch_s:g} s; wait, or roll back")


def _person(name: str) -> str:
    """A name as people read it: Anna and ANNA are one person."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
