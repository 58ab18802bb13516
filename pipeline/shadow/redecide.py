"""Deciding again: what a candidate policy makes of scores that are recorded. Pure: no engine is asked."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.diff import decide_again
from sluicegate.pipeline.shadow.comparison import Side, side
from sluicegate.schemas import Verdict


def redecided(verdict: Verdict, incumbent: Policy, candidate: Policy) -> Side | None:
    """The candidate's side of a comparison with a verdict; None where nobody can know it, so that it stays missing.

    Nobody knows it where it hangs on a category that no explanation tells, where the candidate has another adapter for
    the post, whose scores are not recorded, or where it is not for the engine that judged. Take both sides to the same
    :class:`~sluicegate.pipeline.shadow.comparison.Pairs`, so that a verdict that comes twice counts once.

    Args:
        verdict: One that the incumbent policy decided. The pairs count those of another policy as foreign.
        incumbent: The policy that acts.
        candidate: The policy that is tried.
    """
    if candidate.engines and verdict.engine.digest not in candidate.engines:
        return None
    if incumbent.rules(verdict).adapter != candidate.rules(verdict).adapter:
        return None
    decision = decide_again(candidate, verdict)
    if decision is None:
        return None
    recorded = side(verdict)
    cohort = recorded.cohort._replace(policy=candidate.digest)
    return replace(recorded, cohort=cohort, action=decision.action)
