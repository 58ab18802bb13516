"""Evidence: all that a case page shows. What a blind reviewer must not see is not in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, select

from sluicegate.pipeline.review.cases import first_member
from sluicegate.pipeline.review.decisions import machine_action
from sluicegate.pipeline.review.rank import RankTerms
from sluicegate.pipeline.review.tables import cases, decisions, verdicts
from sluicegate.pipeline.review.vault import TextVault
from sluicegate.schemas import CATEGORIES, Action, Post, Severity, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_SHOWN = 10
_OF_AUTHOR = (
    select(decisions, cases.c.category)
    .join(cases, cases.c.case_id == decisions.c.case_id)
    .where(
        decisions.c.settles,
        cases.c.tenant == bindparam("of_tenant"),
        decisions.c.case_id.in_(
            select(verdicts.c.case_id).where(
                verdicts.c.author_ref == bindparam("author"), verdicts.c.case_id != bindparam("this")
            )
        ),
    )
    .order_by(decisions.c.decided_at.desc())
    .limit(_SHOWN)
)
_ALIKE = (
    select(decisions)
    .join(cases, cases.c.case_id == decisions.c.case_id)
    .where(
        cases.c.near_key == bindparam("near"),
        cases.c.tenant == bindparam("of_tenant"),
        cases.c.case_id != bindparam("this"),
        decisions.c.settles,
    )
    .order_by(decisions.c.decided_at.desc())
    .limit(_SHOWN)
)


class TextPart(NamedTuple):
    """A stretch of a text."""

    text: str
    decided: bool
    """True where it is the segment that decided."""


@dataclass(frozen=True, slots=True)
class CaseProposal:
    """The answer that a page comes filled in with."""

    action: Action
    severity: Severity
    categories: tuple[str, ...]
    disposition: str


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """What a case page shows."""

    case: Row[Any]
    parts: tuple[TextPart, ...]
    """The text; none where it is gone."""
    post: Post | None
    verdict: Verdict | None
    """None where it must not be seen yet."""
    proposal: CaseProposal | None
    urgency: float
    due_in_s: float
    categories: tuple[str, ...]
    """Names to choose from."""
    history: tuple[Row[Any], ...]
    """Decided cases of the same author."""
    similar: tuple[Row[Any], ...]
    """Decided cases of near copies."""
    answered: tuple[Row[Any], ...]
    """What reviewers said, for a lead who decides between them."""


def gather(
    connection: Connection,
    vault: TextVault,
    case: Row[Any],
    *,
    half_life_s: float,
    leads: bool,
    beside: bool = True,
) -> CaseEvidence | None:
    """Everything about a case; None where it has no verdict left.

    Args:
        connection: A transaction.
        vault: Has the text.
        case: Its row.
        half_life_s: As ``review.half_life_s``.
        leads: True shows what reviewers said, where they disagreed.
        beside: False leaves out other cases and answers: what is shown, but no part of the form.
    """
    first = first_member(connection, case.case_id)
    if first is None:
        return None
    verdict = Verdict.model_validate_json(first.body)
    post = vault.open(connection, first.post_key)
    # Golden cases come as if nobody had decided them.
    blind = case.blind and (case.state != "decided" or case.golden)
    golden = case.golden and case.state == "decided"
    now = case.opened_at if golden else time.time()
    weighed = RankTerms(case.harm, case.uncertainty, case.reach, case.due_at)
    known = dict.fromkeys((*CATEGORIES, *(() if blind else verdict.categories)))
    disputed = leads and case.state == "adjudication"
    return CaseEvidence(
        case=case,
        parts=() if post is None else text_parts(post.text, None if blind else verdict),
        post=post,
        verdict=None if blind else verdict,
        proposal=None if blind else propose(verdict),
        urgency=weighed.urgency(now, half_life_s),
        due_in_s=case.due_at - now,
        categories=tuple(known),
        history=_history(connection, first) if beside and verdict.author_id is not None else (),
        # Their pages show the verdicts on nearly the same text.
        similar=_similar(connection, case) if beside and not blind else (),
        answered=tuple(_answers(connection, case)) if beside and disputed else (),
    )


def text_parts(text: str, verdict: Verdict | None) -> tuple[TextPart, ...]:
    """A text, with the segment that decided apart from the rest."""
    segments = None if verdict is None else verdict.segments
    # Positions in a folded text say nothing of the text itself.
    if verdict is None or segments is None or segments.end is None or verdict.form != "original":
        return (TextPart(text, decided=False),)
    cut = [
        TextPart(text[: segments.start], decided=False),
        TextPart(text[segments.start : segments.end], decided=True),
        TextPart(text[segments.end :], decided=False),
    ]
    return tuple(part for part in cut if part.text)


def propose(verdict: Verdict) -> CaseProposal | None:
    """The answer that a verdict suggests; None where the post could not be scored."""
    if verdict.scores is None or verdict.severity is None:
        return None
    if verdict.breaker is not None:
        return CaseProposal(
            verdict.breaker.action, verdict.severity, verdict.categories, verdict.breaker.disposition
        )
    categories = () if verdict.severity == "safe" else verdict.categories
    action = machine_action(verdict) or Action.ALLOW
    return CaseProposal(action, verdict.severity, categories, verdict.disposition)


def _history(connection: Connection, first: Row[Any]) -> tuple[Row[Any], ...]:
    of = {"of_tenant": first.tenant, "author": first.author_ref, "this": first.case_id}
    return tuple(connection.execute(_OF_AUTHOR, of))


def _similar(connection: Connection, case: Row[Any]) -> tuple[Row[Any], ...]:
    near = {"near": case.near_key, "of_tenant": case.tenant, "this": case.case_id}
    return tuple(connection.execute(_ALIKE, near))


def _answers(connection: Connection, case: Row[Any]) -> list[Row[Any]]:
    return list(
        connection.execute(
            select(decisions)
            .where(decisions.c.case_id == case.case_id, decisions.c.round == case.round)
            .order_by(decisions.c.decided_at)
        )
    )
