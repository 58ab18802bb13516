"""The deadline: which posts wait no longer for the engine, as their tenants chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.flow.answers import Answer, Answers
from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.flow.routes import Routes
from sluicegate.pipeline.flow.work import Found, PartInWork, PostInWork, PromptInWork
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import AssessedBy, FailureCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


LOOK_S = 0.25
"""How often to look: no post waits longer than its tenant's ``max_wait_seconds`` and this."""

_AWAY = ItemFailure(FailureCode.ENGINE_UNAVAILABLE)
_OVERLOAD = ItemFailure(FailureCode.OVERLOAD)


def run_out(
    judgements: Collection[PromptInWork], answers: Answers, policy: Policy, routes: Routes, *, now: float
) -> list[Answer]:
    """Answer the posts that were in the window for their tenants' ``max_wait_seconds``, by failure mode.

    While their engine is away that is every such post, and all of its posts once it was away for too
    long beside another that is at work. While it is at work it is those whose turn has not come: what
    the engine has in hand will be answered, or time out. What was sent and is not in its hands waits while suspects
    are asked one at a time, or is set aside: to its tenant the engine is away.

    Args:
        judgements: All that wait or are in hand.
        answers: Makes the answers.
        policy: The policy in force.
        routes: Say which engines are at work.
        now: Monotonic seconds.
    """
    least_s = policy.least_wait_seconds
    if least_s is None and routes.all_at_work:
        return []  # the common case, several times a second beside a full window
    given_up = routes.given_up(now)
    over: list[tuple[PartInWork, ItemFailure]] = []
    for judgement in judgements:
        judge = judgement.route.judge
        # A long wait may see many rebalances, each of which gives posts back and takes them again.
        judgement.members = [member for member in judgement.members if not member.arrival.over]
        if judgement.sent_at is not None and judge.adapter_state.up and not judge.keeps_back(judgement):
            continue
        for member in judgement.members:
            arrival = member.arrival
            waits = judgement.route not in given_up and not _impatient(arrival, policy, least_s, now)
            if arrival.over or waits:
                continue
            over.append((member, _failure(judgement)))
    if over:
        _note_scores(judgements, {member.arrival for member, _ in over}, policy)
    # Only now: a post of several parts is answered once, with the scores of all that have some.
    return [answers.give_up(member.arrival, failure) for member, failure in over if not member.arrival.over]


def _failure(judgement: PromptInWork) -> ItemFailure:
    judge = judgement.route.judge
    return _OVERLOAD if judge.adapter_state.up and not judge.keeps_back(judgement) else _AWAY


def _note_scores(judgements: Iterable[PromptInWork], given_up: set[PostInWork], policy: Policy) -> None:
    """Keep what the engine said of any part of these posts, in hand or not: at most explanations are missing."""
    for judgement in judgements:
        if judgement.scores is None:
            continue
        by = AssessedBy.CACHE if judgement.reused else AssessedBy.ENGINE
        missing = _failure(judgement) if judgement.explain_as(policy) is not None else None
        found = Found(assess(judgement.scores, missing), by, judgement.sent_at, judgement.scored_in)
        for member in judgement.members:
            if member.arrival in given_up:
                member.arrival.found[member.part] = found


def _impatient(arrival: PostInWork, policy: Policy, least_s: float | None, now: float) -> bool:
    waited_s = now - arrival.slot.taken_at
    if least_s is None or waited_s < least_s:  # spares most posts the look into the policy
        return False
    longest_s = policy.rules(arrival.post).max_wait_seconds
    return longest_s is not None and waited_s >= longest_s
