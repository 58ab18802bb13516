"""Notes on what a policy makes of posts whose explanation fails."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from hypothesis import given

from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.checks import notes
from sluicegate.schemas import Action, Post, Scores
from unit.pipeline.policy.test_policy_total import all_scores, documents, policy_of, posts


def noted(text: str) -> dict[str, int | None]:
    """Places and lines."""
    return {note.place: note.line for note in notes(Policy.from_bytes(text.encode(), "policy.yaml"))}


HEAD = "name: p\nversion: '1'\n"


def test_a_failure_mode_is_named_where_an_allow_may_be_explained() -> None:
    assert noted(HEAD) == {"failure_mode (built-in)": None}
    assert noted(HEAD + "rules:\n  failure_mode: block\n") == {"rules.failure_mode": 4}


def test_nothing_is_noted_where_no_allow_is_explained() -> None:
    rules = "rules: {explain_at: 0.6, explain_responses: false}\n"
    assert noted(HEAD + rules) == {}


def test_only_responses_are_explained_for_being_responses() -> None:
    written = "rules: {explain_at: 0.6}\nkinds: {response: {explain_responses: false}}\n"
    assert noted(HEAD + written) == {}
    assert noted(HEAD + "rules: {explain_at: 0.6}\n") == {"failure_mode (built-in)": None}


def test_nothing_is_noted_where_nothing_is_allowed() -> None:
    assert (
        noted(HEAD + "rules: {review_at: {risk: 0.0}, categories: {PII: {block_at: {unsafe: 0.2}}}}\n") == {}
    )


def test_bars_of_categories_are_named_for_who_fails_open() -> None:
    text = (
        HEAD
        + "rules:\n  categories:\n    PII:\n      review_at: {unsafe: 0.2}\n      block_at: {unsafe: 0.3}\n"
        + "tenants:\n  open:\n    rules: {failure_mode: allow}\n"
    )
    assert noted(text) == {
        "failure_mode (built-in)": None,  # all others
        "rules.categories.PII.review_at.unsafe": 6,  # of the tenant that fails open
        "rules.categories.PII.block_at.unsafe": 7,  # severer than either
    }


def test_a_note_says_what_becomes_of_the_post() -> None:
    (note,) = notes(Policy.from_bytes((HEAD + "rules:\n  failure_mode: block\n").encode(), "p"))
    assert note.sentence("p.yaml") == (
        "p.yaml:4: note: rules.failure_mode: a post whose explanation fails is `block` at least; "
        "it was an allow where its scores were one"
    )


class Failed:
    categories: tuple[str, ...] = ()
    category_scores: dict[str, float] = {}  # noqa: RUF012 - never changed
    explained_as = None
    explained_by = None
    explanation_failure = "timed_out"


@given(document=documents, post=posts, scores=all_scores())
def test_a_policy_without_notes_allows_no_less_than_before(
    document: dict[str, Any], post: Post, scores: Scores
) -> None:
    policy = policy_of(document)
    before = policy.rules(post).outcome(scores)[0]
    now = policy.decide(post, scores, Failed()).action
    if before is Action.ALLOW and now is not Action.ALLOW:
        assert notes(policy)


@pytest.mark.parametrize("name", ["social_network", "bank_adviser", "school_platform", "starter", "default"])
def test_every_example_is_told(name: str) -> None:
    text = (resources.files("sluicegate.pipeline.policy") / "shipped" / f"{name}.yaml").read_text("utf-8")
    assert noted(text)
