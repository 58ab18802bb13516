"""The screen's part of a path: what it may answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.engines.screen import ScreenAnswer, answer_within
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.rules import Subject
from sluicegate.schemas import Action

_SIDES = {Action.ALLOW: "safe", Action.BLOCK: "unsafe"}
"""On which side the screen must be sure for an action."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the screen would have said of a post that the engine judges instead."""

    screen: str
    """Its digest."""
    action: Action
    policy: str
    """Digest of the policy that it would have said so under."""


def may_answer(post: Subject, policy: Policy) -> bool:
    """False where nothing that the screen could say of a post would stand."""
    rules = policy.rules(post)
    return rules.screen.tolerance is not None and not (post.kind == "response" and rules.explain_responses)


def action_of(post: Subject, answer: ScreenAnswer | None, policy: Policy) -> Action | None:
    """The action that an answer leads to; None where the engine is to be asked.

    An allow must be one that needs no explanation. A block has no category that could tell bars apart, so
    every bar of the policy must agree, and the tenant must have said that the screen may.
    """
    rules = policy.rules(post)
    tolerance = rules.screen.tolerance
    if answer is None or tolerance is None or not answer_within(answer, tolerance):
        return None
    if not may_answer(post, policy):
        return None
    actions = {bars.outcome(answer.scores)[0] for bars in (rules, *rules.categories.values())}
    action = actions.pop() if len(actions) == 1 else None
    if action is None or _SIDES.get(action) != answer.severity:
        return None
    if action is Action.BLOCK:
        return action if rules.screen.may_block else None
    return None if policy.needs_explanation(post, answer.scores) else action


def is_sampled(content: str, share: float) -> bool:
    """True for this many of all contents; for one content always the same.

    Args:
        content: A post's content hash.
        share: Of all.
    """
    return int(content.rpartition(":")[2][:16], 16) < share * 2**64
