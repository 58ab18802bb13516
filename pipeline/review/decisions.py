"""Decisions: what a person said about a case, what follows of it, and the records that tell it. One transaction each."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID, uuid5

import orjson
from sqlalchemy import bindparam, exists, insert, select, update

from sluicegate.pipeline.review.cases import decided_on, first_member, locked, open_again
from sluicegate.pipeline.review.journal import note, saw_verdict
from sluicegate.pipeline.review.queue import Reviewer
from sluicegate.pipeline.review.spreading import AT_ONCE, of_verdict, put, tell
from sluicegate.pipeline.review.store import OPEN_STATES
from sluicegate.pipeline.review.tables import cases, decisions, verdicts
from sluicegate.pipeline.review.vault import TextVault
from sluicegate.schemas import (
    Action,
    Authority,
    Basis,
    Feedback,
    Resolution,
    ResolutionCause,
    Severity,
    Verdict,
    encode,
    feedback_id,
)
from sluicegate.schemas.feedback import FEEDBACK_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

_DECISIONS = UUID("9d0c6f4e-1f0b-5c39-8f52-2b4c3b7a6d10")  # our own namespace
_RULE_CHARACTERS = 256
_KEEP = insert(decisions)
_OF_ROUND = select(decisions).where(
    decisions.c.case_id == bindparam("case"), decisions.c.round == bindparam("now")
)
_CHANGE = update(cases).where(cases.c.case_id == bindparam("of"))
_LOOKED = (Basis.SINGLE.value, Basis.DOUBLE.value, Basis.ADJUDICATED.value)
_TICK = timedelta(microseconds=1)
_OF_LIFTED = 5  # copies of each lifted case that are told at once: there are some hundreds of cases


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """What a reviewer says, and of which state of the case."""

    version: int
    """The case's version that the reviewer saw."""
    action: Action
    severity: Severity
    categories: tuple[str, ...] = ()
    disposition: str = "none"
    reason: str | None = None
    blind: bool = False
    """True if the server had not shown the verdict."""
    seen: tuple[str, ...] = ("text",)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """What became of an answer."""

    kind: Literal["settled", "first", "disagreed", "measured", "repeated", "refused"]
    """``first`` waits for a second reviewer, ``disagreed`` for a lead; ``measured`` was a golden case."""
    changed: str = ""
    """What had changed where it was refused."""


class _Taken(NamedTuple):
    """An answer with what it is about."""

    name: str
    """Id of the decision: the same one whenever this reviewer answers this round of the case."""
    case: Row[Any]
    first: Row[Any] | None
    """The first verdict that the case is about; None where it has none left."""
    reviewer: Reviewer
    answer: CaseAnswer


class LiftSample(NamedTuple):
    """What people decided on the last breaker cases of one policy."""

    policy: str
    """Its digest."""
    action: Action
    people: dict[str, int]
    """Cases that each of them looked at."""


class Decisions:
    """Takes answers. Holds no state but in the store.

    Args:
        vault: Has the texts that feedback carries.
    """

    def __init__(self, vault: TextVault) -> None:
        self._vault = vault

    def answer(
        self, connection: Connection, case_id: str, reviewer: Reviewer, answer: CaseAnswer
    ) -> AnswerOutcome:
        """Take an answer. The same one again changes nothing; one about a case that changed meanwhile is refused."""
        case = locked(connection, case_id)
        if case is None or not reviewer.sees(case.tenant):
            return AnswerOutcome("refused", "The case is not there any more.")
        name = str(uuid5(_DECISIONS, f"{case_id} {case.round} {reviewer.name}"))
        given = connection.execute(_OF_ROUND, {"case": case_id, "now": case.round}).all()
        mine = next((one for one in given if one.decision_id == name), None)
        if mine is not None:
            if case.state == "adjudication":
                return AnswerOutcome("refused", "You were one of the two readers. Another lead decides.")
            return _again(mine, answer)
        if case.state == "adjudication" or saw_verdict(connection, reviewer.name, case_id):
            answer = replace(answer, blind=False)  # whatever the form says
        first = first_member(connection, case_id)
        if first is not None and self._vault.erased(connection, first.author_ref):
            answer = replace(answer, reason=None)  # it may quote the text
        taken = _Taken(name, case, first, reviewer, answer)
        if case.golden and case.state == "decided":
            self._send_feedback(connection, taken, Basis.GOLDEN, _keep(connection, taken, Basis.GOLDEN))
            return AnswerOutcome("measured")
        if (changed := _changed(case, reviewer, answer)) is not None:
            return AnswerOutcome("refused", changed)
        return self._take(connection, taken, [one for one in given if not one.settles])

    def _take(self, connection: Connection, taken: _Taken, first_reads: Sequence[Row[Any]]) -> AnswerOutcome:
        """Settle the case, or leave it for a second person or a lead."""
        case, answer = taken.case, taken.answer
        if case.state == "adjudication":
            return self._settle(connection, taken, Basis.ADJUDICATED, Authority.ADJUDICATOR)
        if not case.double:
            return self._settle(connection, taken, Basis.SINGLE, Authority.REVIEWER)
        if any((one.action, one.severity) == (answer.action, answer.severity) for one in first_reads):
            return self._settle(connection, taken, Basis.DOUBLE, Authority.REVIEWER)
        self._send_feedback(connection, taken, Basis.VOTE, _keep(connection, taken, Basis.DOUBLE))
        if not first_reads:
            _free(connection, case.case_id)
            return AnswerOutcome("first")
        _free(connection, case.case_id, state="adjudication", version=case.version + 1)
        note(connection, taken.reviewer.name, taken.reviewer.role, "reviewers disagreed", case.case_id)
        return AnswerOutcome("disagreed")

    def reopen(self, connection: Connection, case_id: str, lead: Reviewer) -> bool:
        """Withdraw what people decided on a case, and ask anew; False if it is not decided."""
        case = locked(connection, case_id)
        if case is None or case.state != "decided" or not lead.sees(case.tenant):
            return False
        row = first_member(connection, case_id)
        if row is None:  # a case without a verdict would wait for ever
            return False
        now = _moment(connection, row)
        name = str(uuid5(_DECISIONS, f"{case_id} {case.round} reopened"))
        verdict = Verdict.model_validate_json(row.body)
        resolution = Resolution(
            **of_verdict(verdict, name, Action.REVIEW),
            disposition="none",
            severity=None,
            authority=Authority.MACHINE,
            reviewer=lead.name,
            role=lead.role,
            basis=Basis.SINGLE,
            cause=ResolutionCause.REOPENED,
            decided_at=now,
        )
        tell(connection, row, name, resolution)
        open_again(connection, case)
        note(connection, lead.name, lead.role, "case reopened", case_id)
        return True

    def make_golden(self, connection: Connection, case_id: str, lead: Reviewer) -> bool:
        """Make what was decided the known answer, to measure others by; False if the case is not decided."""
        known = (cases.c.case_id == case_id) & (cases.c.state == "decided")
        tenant = connection.execute(select(cases.c.tenant).where(known)).scalar()
        if tenant is None or not lead.sees(tenant):
            return False
        done = connection.execute(update(cases).where(known).values(golden=True)).rowcount
        if done:
            note(connection, lead.name, lead.role, "case made golden", case_id)
        return bool(done)

    def sample(self, connection: Connection, tenant: str, size: int, lead: Reviewer) -> LiftSample | None:
        """What a lead may decide the open breaker cases of a policy as; None if too few people looked, or did not find them alike.

        Of several policies it is the first whose cases people found alike.
        """
        if not lead.sees(tenant):
            return None
        # One by one, each read off an index: a flood has a hundred thousand cases, and few policies. Asked for the least one
        # without an order, PostgreSQL joins every case of the flood with its verdicts first.
        policies = select(cases.c.policy).where(*_liftable(tenant)).order_by(cases.c.policy).limit(1)
        policy = connection.execute(policies).scalar()
        while policy is not None:
            found = self._sample(connection, tenant, policy, size, lead)
            if found is not None:
                return found
            policy = connection.execute(policies.where(cases.c.policy > policy)).scalar()
        return None

    @staticmethod
    def _sample(
        connection: Connection, tenant: str, policy: str, size: int, lead: Reviewer
    ) -> LiftSample | None:
        rows = connection.execute(
            select(decisions.c.action, decisions.c.reviewer)
            .join(cases, cases.c.case_id == decisions.c.case_id)
            .where(
                cases.c.tenant == tenant,
                cases.c.breaker.is_(True),
                cases.c.policy == policy,
                # What was withdrawn says nothing.
                cases.c.state == "decided",
                decisions.c.round == cases.c.round,
                decisions.c.tenant == tenant,
                decisions.c.cause == ResolutionCause.BREAKER.value,
                decisions.c.basis.in_(_LOOKED),
                decisions.c.settles,
            )
            .order_by(decisions.c.decided_at.desc())
            .limit(size)
        ).all()
        people = Counter(row.reviewer for row in rows)
        alike = len({row.action for row in rows}) == 1
        # Who lifts a flood must not be the only one who ever looked at it.
        if len(rows) < size or not alike or set(people) == {lead.name}:
            return None
        return LiftSample(policy, Action(rows[0].action), dict(people))

    def lift(
        self,
        connection: Connection,
        tenant: str,
        lead: Reviewer,
        *,
        policy: str,
        action: Action,
        size: int,
        most: int,
    ) -> int:
        """Decide breaker cases of a tenant as its sample was decided; how many, 0 where the sample does not say so now.

        The sample is of the same tenant and policy, and not of the lead alone. The event says who looked.

        Args:
            connection: The transaction.
            tenant: Whose.
            lead: Who decides.
            policy: Digest of the policy that the lead was shown. Cases of no other are decided.
            action: What the lead was shown that the sample says.
            size: How many cases people must have looked at, and found alike.
            most: Cases in this transaction.
        """
        sample = self._sample(connection, tenant, policy, size, lead) if lead.sees(tenant) else None
        if sample is None or sample.action is not action:
            return 0
        found = connection.execute(
            select(cases)
            .where(*_liftable(tenant), cases.c.policy == policy)
            .order_by(cases.c.rank)
            .limit(most)
            .with_for_update()
        ).all()
        severity: Severity = "safe" if action is Action.ALLOW else "unsafe"
        for case in found:
            name = str(uuid5(_DECISIONS, f"{case.case_id} {case.round} lifted"))
            first = first_member(connection, case.case_id)
            answer = CaseAnswer(case.version, action, severity, disposition=_withheld(first, action), seen=())
            taken = _Taken(name, case, first, lead, answer)
            self._settle(connection, taken, Basis.BULK, Authority.REVIEWER)
        details = {
            "cases": len(found),
            "action": action,
            "policy": policy,
            "sample": sample.people,
        }
        note(connection, lead.name, lead.role, "breaker cases lifted", tenant, details)
        return len(found)

    def _settle(
        self, connection: Connection, taken: _Taken, basis: Basis, authority: Authority
    ) -> AnswerOutcome:
        case, row, answer = taken.case, taken.first, taken.answer
        if row is None:  # it would be settled, and no record would say so
            return AnswerOutcome("refused", "The case has changed since it was shown. Look at it again.")
        now = _keep(connection, taken, basis, settles=True, authority=authority)
        resolution = Resolution(
            **of_verdict(Verdict.model_validate_json(row.body), taken.name, answer.action),
            disposition=answer.disposition,
            severity=answer.severity,
            categories=answer.categories,
            authority=authority,
            reviewer=taken.reviewer.name,
            role=taken.reviewer.role,
            basis=basis,
            cause=case.cause,
            seen=answer.seen,
            decided_at=now,
        )
        lifted = basis is Basis.BULK
        tell(connection, row, taken.name, resolution, most=_OF_LIFTED if lifted else AT_ONCE)
        if not lifted:  # what nobody looked at teaches nothing
            self._send_feedback(connection, taken, basis, now, of=resolution.resolution_id)
        _free(
            connection,
            case.case_id,
            state="decided",
            version=case.version + 1,
            closed_at=now.timestamp(),
        )
        return AnswerOutcome("settled")

    def _send_feedback(
        self, connection: Connection, taken: _Taken, basis: Basis, at: datetime, *, of: str | None = None
    ) -> None:
        """Tell what a person found, beside what the verdict said.

        Args:
            connection: The transaction of the answer.
            taken: The answer.
            basis: As feedback has it: a vote's own, where the answer settled nothing.
            at: When it was given.
            of: The resolution that it goes with; None for an answer that settled nothing.
        """
        case, row, answer = taken.case, taken.first, taken.answer
        post = None if row is None else self._vault.open(connection, row.post_key)
        if row is None or post is None:
            return  # a row without its text teaches nothing
        verdict = Verdict.model_validate_json(row.body)
        feedback = Feedback(
            schema_version=FEEDBACK_VERSION,
            verdict_id=verdict.verdict_id,
            post=post,
            severity=answer.severity,
            categories=answer.categories,
            reason=answer.reason,
            blind=answer.blind,
            reviewed_at=at,
            reviewer=taken.reviewer.name,
            basis=basis,
            sampled_by=case.cause,
            inclusion_probability=case.probability,
            found=verdict.severity,
            engine=verdict.engine.digest,
            policy=verdict.policy.digest,
        )
        put(connection, feedback_id(of or taken.name), "feedback", row.author_ref, post.id, encode(feedback))


def _keep(
    connection: Connection,
    taken: _Taken,
    basis: Basis,
    *,
    settles: bool = False,
    authority: Authority = Authority.REVIEWER,
) -> datetime:
    """Write down what a person said; when that was."""
    case, answer, reviewer = taken.case, taken.answer, taken.reviewer
    now = _moment(connection, taken.first)
    connection.execute(
        _KEEP,
        {
            "decision_id": taken.name,
            "case_id": case.case_id,
            "round": case.round,
            "reviewer": reviewer.name,
            "role": reviewer.role,
            "authority": authority.value,
            "basis": basis.value,
            "action": answer.action.value,
            "disposition": answer.disposition,
            "severity": answer.severity,
            "categories": orjson.dumps(answer.categories).decode(),
            "reason": answer.reason,
            "blind": answer.blind,
            "seconds": answer.seconds,
            "decided_at": now.timestamp(),
            "settles": settles,
            **_about(case, taken.first),
        },
    )
    details = {"action": answer.action, "severity": answer.severity, "basis": basis, "settles": settles}
    note(connection, reviewer.name, reviewer.role, "case answered", case.case_id, details)
    return now


def _moment(connection: Connection, row: Row[Any] | None) -> datetime:
    """Now, and after all that was decided on the post of a verdict: of two decisions the later one counts."""
    now = datetime.now(UTC)
    if row is None:
        return now
    for made in decided_on(connection, row.tenant, row.post_id):
        now = max(now, made.decided_at + _TICK)
    return now


def machine_action(verdict: Verdict) -> Action | None:
    """What the machine found right to do: what a person confirms or overturns. None where it could not score the post."""
    if verdict.breaker is not None:
        return verdict.breaker.action
    if verdict.scores is None:
        return None
    if verdict.action is not Action.REVIEW:  # chance picked it
        return verdict.action
    return Action.BLOCK if verdict.severity == "unsafe" else Action.ALLOW


def _about(case: Row[Any], first: Row[Any] | None) -> dict[str, Any]:
    """What a decision is about, for figures: the case may be reopened, and its verdict dropped, long before."""
    verdict = None if first is None else Verdict.model_validate_json(first.body)
    action = None if verdict is None else machine_action(verdict)
    return {
        "tenant": case.tenant,
        "language": case.language,
        "category": case.category,
        "cause": case.cause,
        "rule": "" if verdict is None else verdict.policy.rule[:_RULE_CHARACTERS],
        "machine_action": None if action is None else action.value,
        "machine_severity": None if verdict is None else verdict.severity,
        "author_ref": "" if first is None else first.author_ref,
    }


def _again(before: Row[Any], answer: CaseAnswer) -> AnswerOutcome:
    """An answer of somebody who has answered: a page that was sent twice, or another opinion."""
    same = (before.action, before.severity, before.disposition) == (
        answer.action,
        answer.severity,
        answer.disposition,
    )
    if same and orjson.loads(before.categories) == list(answer.categories):
        return AnswerOutcome("repeated")
    return AnswerOutcome("refused", "You have answered this case already, and otherwise.")


def _changed(case: Row[Any], reviewer: Reviewer, answer: CaseAnswer) -> str | None:
    """What changed of a case since it was shown; None if this reviewer may answer it now."""
    if case.state == "decided":
        return "Somebody else has decided the case meanwhile."
    if case.state == "withdrawn":
        return "The post was changed or judged again meanwhile, and the case was closed."
    if case.state not in OPEN_STATES or case.version != answer.version:
        return "The case has changed since it was shown. Look at it again."
    if case.state == "adjudication" and not reviewer.leads:
        return "Two reviewers disagreed. A lead decides now."
    if case.holder not in (None, reviewer.name) and case.held_until >= time.time():
        return "Your time for the case was over, and somebody else has it now."
    return None


def _liftable(tenant: str) -> list[ColumnElement[bool]]:
    """The open breaker cases of a tenant that a lift may decide: what a person opened again, people decide one by one."""
    # A case without a verdict cannot be decided: it would be found for ever.
    left = exists().where(verdicts.c.case_id == cases.c.case_id, verdicts.c.counts)
    return [
        cases.c.tenant == tenant,
        cases.c.breaker.is_(True),
        cases.c.state == "open",
        cases.c.round == 0,
        left,
    ]


def _withheld(first: Row[Any] | None, action: Action) -> str:
    """The disposition of a block that a breaker withheld, where it is blocked after all."""
    withheld = None if first is None else Verdict.model_validate_json(first.body).breaker
    return withheld.disposition if withheld is not None and action is Action.BLOCK else "none"


def _free(connection: Connection, case_id: str, **changes: Any) -> None:
    """Take a case from its holder, and change what else is given."""
    connection.execute(_CHANGE, {"of": case_id, "holder": None, "held_until": None, **changes})
