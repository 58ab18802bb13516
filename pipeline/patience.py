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
    from sluicegate.pipeline.judgement import Judgement, Member
    from sluicegate.pipeline.policy import Policy

LOOK_S = 0.25
"""How often to look: no post waits longer than its tenant's ``max_wait_seconds`` and this."""

_AWAY = ItemFailure(FailureCode.ENGINE_UNAVAILABLE)
_OVERLOAD = ItemFailure(FailureCode.OVERLOAD)


def run_out(
    judgements: Iterable[Judgement], answers: Answers, policy: Policy, *, now: float, at_work: bool
) -> list[Answer]:
    """Answer the posts that were in the window for their tenants' ``max_wait_seconds``, by failure mode.

    While the engine is away that is every such post. While it is at work it is those whose turn has
    not come: what the engine has in hand will be answered, or time out.

    Args:
        judgements: All that wait or are in hand.
        answers: Makes the answers.
        policy: The policy in force.
        now: Monotonic seconds.
        at_work: False while the engine's circuit breaker is not closed.
    """
    failure = _OVERLOAD if at_work else _AWAY
    least_s = policy.least_wait_seconds
    over: list[Member] = []
    if at_work and least_s is None:
        return []  # the common case, several times a second beside a full window
    for judgement in judgements:
        # A long wait may see many rebalances, each of which gives posts back and takes them again.
        judgement.members = [member for member in judgement.members if not member.arrival.over]
        if at_work and judgement.sent_at is not None:
            continue
        for member in judgement.members:
            arrival = member.arrival
            waited_s = now - arrival.held.taken_at
            if arrival.over or least_s is None or waited_s < least_s:
                continue
            patience_s = policy.rules(arrival.post).max_wait_seconds
            if patience_s is None or waited_s < patience_s:
                continue
            over.append(member)
            if judgement.scores is not None:  # only its explanation is missing
                by = AssessedBy.CACHE if judgement.reused else AssessedBy.ENGINE
                scored = assess(judgement.scores, failure)
                arrival.found[member.part] = Found(scored, by, reused_from=judgement.scored_in)
    # Only now: a post of several parts is answered once, with the scores of all that have some.
    return [answers.give_up(member.arrival, failure) for member in over if not member.arrival.over]
