"""The decider: what is worked out beforehand decides as the rules do when they are asked one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.policy import FAILURE_MODE, Policy
from sluicegate.pipeline.policy.decider import SEVERITY, Decision
from sluicegate.pipeline.policy.policy import _CONTEXTS
from sluicegate.pipeline.policy.rules import Bars, Rules, explains
from sluicegate.schemas import Action, Kind, Post, Scores, Severity
from unit.pipeline.policy.test_policy_total import all_scores, documents, found, policy_of, posts


def hangs_on_a_category(rules: Rules, scores: Scores) -> bool:
    action = rules.outcome(scores)[0]
    return any(
        bars.outcome(scores)[0] is not action
        or bars.dispositions[action] != rules.dispositions[action]
        or (
            action is Action.BLOCK  # what is asked for while blocks are withheld
            and bars.dispositions[Action.REVIEW] != rules.dispositions[Action.REVIEW]
        )
        for bars in rules.categories.values()
    )


def explain_as(rules: Rules, kind: Kind, scores: Scores) -> Severity | None:
    asked = (
        (kind == "response" and rules.explain_responses)
        or scores.unsafe + scores.controversial >= rules.explain_at
        or any(bars.outcome(scores)[0] is not Action.ALLOW for bars in (rules, *rules.categories.values()))
    )
    if not asked:
        return None
    return (
        scores.harm if scores.severity == "safe" and hangs_on_a_category(rules, scores) else scores.severity
    )


def tells(rules: Rules, scores: Scores, wanted: Severity, told: Any) -> bool:
    alone = told.explained_by == "category"
    return explains(told, wanted) and not (alone and hangs_on_a_category(rules, scores))


def deciding(
    rules: Rules, scores: Scores, wanted: Severity | None, told: Any
) -> list[tuple[str | None, Bars]]:
    if told is None or wanted is None:
        return [(None, rules)]
    if not tells(rules, scores, wanted, told):
        return [(None, rules), *rules.categories.items()]
    own: list[tuple[str | None, Bars]] = [
        (name, bars) for name, bars in rules.categories.items() if bars.applies(name, told)
    ]
    named = {name for name, _ in own}
    return own if own and named.issuperset(told.categories) else [*own, (None, rules)]


def decided(rules: Rules, kind: Kind, scores: Scores, told: Any) -> tuple[Action, str, Bars]:
    wanted = explain_as(rules, kind, scores)
    outcomes = []
    for name, bars in deciding(rules, scores, wanted, told):
        action, reached = bars.outcome(scores)
        outcomes.append((action, reached if name is None else f"categories.{name}.{reached}", bars))
    severest = max(outcomes, key=lambda one: SEVERITY.index(one[0]))  # the first of the severest ones
    lacks = wanted is not None and told is not None and not tells(rules, scores, wanted, told)
    if lacks and SEVERITY.index(rules.failure_mode) > SEVERITY.index(severest[0]):
        return rules.failure_mode, FAILURE_MODE, rules
    return severest


@given(document=documents, post=posts, scores=all_scores(), explanation=found)
def test_a_decision_is_that_of_the_rules_asked_one_by_one(
    document: dict[str, Any], post: Post, scores: Scores, explanation: Any
) -> None:
    policy = policy_of(document)
    rules = policy.rules(post)
    action, rule, bars = decided(rules, post.kind, scores, explanation)
    given, review = bars.dispositions[action], bars.dispositions[Action.REVIEW]
    assert policy.decide(post, scores, explanation) == Decision(action, given.name, rule, given.parameters)
    assert policy.withhold(post, scores, explanation) == Decision(
        Action.REVIEW, review.name, rule, review.parameters
    )
    assert policy.explain_as(post, scores) == explain_as(rules, post.kind, scores)
    assert policy.decider(post).hangs_on_a_category(scores) == hangs_on_a_category(rules, scores)
    failed = rules.dispositions[rules.failure_mode]
    assert policy.decide_failure(post) == Decision(
        rules.failure_mode, failed.name, FAILURE_MODE, failed.parameters
    )


@given(document=documents, many=st.lists(posts, min_size=2, max_size=8))
def test_posts_of_one_context_have_one_decider(document: dict[str, Any], many: list[Post]) -> None:
    policy = policy_of(document)
    contexts = {policy.scope.context_of(post) for post in many}
    assert len({id(policy.decider(post)) for post in many}) == len(contexts)
    for post in many:
        assert policy.decider(post) is policy.decider(post.model_copy())


def test_tenants_without_end_are_forgotten_and_decided_as_everybody() -> None:
    policy = Policy.load(None)
    everybody = policy.decider(Post(id="p", text="x"))
    for number in range(_CONTEXTS + 10):
        assert policy.decider(Post(id="p", text="x", tenant=f"t{number}", language="en")) is everybody
    assert policy._remembered.cache_info().currsize == _CONTEXTS  # type: ignore[attr-defined]
    assert len(policy._deciders) == 1


@pytest.mark.parametrize(("at", "asked"), [(0.5, "safe"), (0.500001, None)])
def test_who_has_just_the_risk_that_is_to_be_explained_is_explained(at: float, asked: str | None) -> None:
    never = {"block_at": {"unsafe": None}, "review_at": {"unsafe": None, "risk": None}}
    policy = Policy.parse({"name": "p", "version": "1", "rules": {"explain_at": at, **never}})
    scores = Scores(safe=0.5, controversial=0.25, unsafe=0.25)
    assert policy.explain_as(Post(id="p", text="x"), scores) == asked
