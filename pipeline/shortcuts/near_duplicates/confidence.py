"""Whether a finding is sure enough to stand for another text. Pure."""

from __future__ import annotations

from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Assessment, Post, Scores

_MOVE = 0.05
"""Scores of one text move by up to 0.03 with the company that it has in a batch (measured on the CPU engine)."""


def is_sure(post: Post, finding: Assessment, policy: Policy, *, least: float) -> bool:
    """True if one severity has at least so much, and the action is the same were the scores a little different.

    Args:
        post: The post judged.
        finding: Of it; its scores as the policy sees them.
        policy: Decides.
        least: Probability of the likeliest severity.
    """
    scores = finding.scores
    if (
        finding.explanation_failure is not None
        or max(scores.safe, scores.controversial, scores.unsafe) < least
    ):
        return False
    actions = {policy.decide(post, moved, finding).action for moved in (scores, *_neighbours(scores))}
    return len(actions) == 1


def _neighbours(scores: Scores) -> list[Scores]:
    kept = {name: value * (1 - _MOVE) for name, value in scores.model_dump().items()}
    return [Scores(**{**kept, name: value + _MOVE}) for name, value in kept.items()]
