"""Patience: which posts wait no longer for the engine, as their tenants chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.judgement import Found
from sluicegate.pipeline.verdicts import assess
from sluicegate.schemas import AssessedBy, FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.pipeline.answers import Answer, Answers
    from sluicegate.pipeline.desks import Desks
    from sluicegate.pipeline.judgement import Arrival, Judgement, Member
    from sluicegate.pipeline.policy import Policy

LOOK_S = 0.25
"""How often to look: no post waits longer than its tenant's ``max_wait_seconds`` and this."""

_AWAY = ItemFailure(FailureCode.ENGINE_UNAVAILABLE)
_OVERLOAD = ItemFailure(FailureCode.OVERLOAD)


def run_out(
    judgements: Iterable[Judgement], answers: Answers, policy: Policy, desks: Desks, *, now: float
) -> list[Answer]:
    """Answer the posts that were in the window for their tenants' ``max_wait_seconds``, by failure mode.

    While their engine is away that is every such post, and all of its posts once it was away for too
    long beside another that is at work. While it is at work it is those that it does not have in hand: what
    it has will be answered, or time out.

    Args:
        judgements: All that wait or are in hand.
        answers: Makes the answers.
        policy: The policy in force.
        desks: Say which engines are at work.
        now: Monotonic seconds.
    """
    least_s = policy.least_wait_seconds
    if least_s is None and desks.all_at_work:
        return []  # the common case, several times a second beside a full window
    given_up = desks.given_up(now)
    over: list[tuple[Member, ItemFailure]] = []
    for judgement in judgements:
        at_work = judgement.desk.judge.engine_at_work
        failure = _OVERLOAD if at_work and judgement.sent_at is None else _AWAY
        # A long wait may see many rebalances, each of which gives posts back and takes them again.
        judgement.members = [member for member in judgement.members if not member.arrival.over]
        if at_work and judgement.in_hand:
            continue
        for member in judgement.members:
            arrival = member.arrival
            waits = judgement.desk not in given_up and not _impatient(arrival, policy, least_s, now)
            if arrival.over or waits:
                continue
            over.append((member, failure))
            if judgement.scores is not None:  # only its explanation is missing
                by = AssessedBy.CACHE if judgement.reused else AssessedBy.ENGINE
                scored = assess(judgement.scores, failure)
                arrival.found[member.part] = Found(scored, by, reused_from=judgement.scored_in)
    # Only now: a post of several parts is answered once, with the scores of all that have some.
    return [answers.give_up(member.arrival, failure) for member, failure in over if not member.arrival.over]


def _impatient(arrival: Arrival, policy: Policy, least_s: float | None, now: float) -> bool:
    waited_s = now - arrival.held.taken_at
    if least_s is None or waited_s < least_s:  # spares most posts the look into the policy
        return False
    patience_s = policy.rules(arrival.post).max_wait_seconds
    return patience_s is not None and waited_s >= patience_s
