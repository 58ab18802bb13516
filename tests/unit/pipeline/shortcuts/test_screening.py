"""What the screen may answer: the policy decides, and the tenant."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.engines.screen import ScreenAnswer
from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shortcuts.screening import action_of, is_sampled
from sluicegate.schemas import Action, Post, Scores

SAFE = ScreenAnswer(Scores(safe=0.98, controversial=0.01, unsafe=0.01), "safe", 0.004)
UNSAFE = ScreenAnswer(Scores(safe=0.01, controversial=0.02, unsafe=0.97), "unsafe", 0.004)
POST = Post(id="p", text="a text")


def policy(**rules: Any) -> Policy:
    return Policy.parse({"name": "p", "version": "1", "rules": rules})


def test_without_a_word_of_the_policy_it_answers_nothing() -> None:
    assert action_of(POST, SAFE, policy()) is None
    assert action_of(POST, SAFE, Policy.load(None)) is None


def test_an_allow_stands_within_the_tolerance_and_not_beyond() -> None:
    assert action_of(POST, SAFE, policy(screen={"tolerance": 0.004})) is Action.ALLOW
    assert action_of(POST, SAFE, policy(screen={"tolerance": 0.0039})) is None
    assert action_of(POST, None, policy(screen={"tolerance": 0.1})) is None


def test_a_block_stands_only_where_it_may() -> None:
    assert action_of(POST, UNSAFE, policy(screen={"tolerance": 0.01})) is None
    assert action_of(POST, UNSAFE, policy(screen={"tolerance": 0.01, "may_block": True})) is Action.BLOCK


def test_a_block_that_hangs_on_a_category_goes_to_the_engine() -> None:
    lenient = {"PII": {"block_at": {"unsafe": None}}}
    rules = policy(screen={"tolerance": 0.01, "may_block": True}, categories=lenient)
    assert action_of(POST, UNSAFE, rules) is None


@pytest.mark.parametrize(
    "rules",
    [
        {"explain_at": 0.01},  # an explanation is wanted
        {"review_at": {"risk": 0.01}},  # a review is no allow
        {"categories": {"PII": {"review_at": {"unsafe": 0.005}}}},  # it would be none if it were PII
    ],
)
def test_what_is_no_confident_allow_goes_to_the_engine(rules: dict[str, Any]) -> None:
    assert action_of(POST, SAFE, policy(screen={"tolerance": 0.01, "may_block": True}, **rules)) is None


def test_it_is_not_sure_that_a_text_is_unsafe_and_then_allows_it() -> None:
    loose = policy(
        screen={"tolerance": 0.01},
        block_at={"unsafe": None},
        review_at={"unsafe": None, "risk": None},
        explain_at=1.0,
    )
    assert action_of(POST, UNSAFE, loose) is None
    hasty = policy(screen={"tolerance": 0.01, "may_block": True}, block_at={"unsafe": 0.0})
    assert action_of(POST, SAFE, hasty) is None


def test_a_response_whose_refusal_is_wanted_goes_to_the_engine() -> None:
    response = Post(id="p", text="no", kind="response")
    assert action_of(response, SAFE, policy(screen={"tolerance": 0.01})) is None
    assert (
        action_of(response, SAFE, policy(screen={"tolerance": 0.01}, explain_responses=False)) is Action.ALLOW
    )


def test_tenants_say_so_one_by_one() -> None:
    document = {
        "name": "p",
        "version": "1",
        "tenants": {"forum": {"rules": {"screen": {"tolerance": 0.01}}}},
    }
    rules = Policy.parse(document)
    assert action_of(POST, SAFE, rules) is None
    assert action_of(POST.model_copy(update={"tenant": "forum"}), SAFE, rules) is Action.ALLOW


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"tolerance": 0.2}, "write a number from 0 to 0.1, such as 0.01, or null for never"),
        ({"tolerance": "much"}, "write a number from 0 to 0.1"),
        ({"may_block": 1}, "write true or false"),
        ({"tolerence": 0.01}, "did you mean `tolerance`?"),
        ([], "write what it may do"),
    ],
)
def test_faults_say_what_would_be_right(written: Any, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(screen=written)
    assert said in str(caught.value)


def test_what_the_screen_may_do_is_part_of_the_digest() -> None:
    assert policy().digest != policy(screen={"tolerance": 0.01}).digest


def test_one_content_is_always_a_sample_or_never_and_the_share_is_kept() -> None:
    contents = [f"sha256:{number * 2**48:016x}{'0' * 48}" for number in range(0, 2**16, 16)]
    chosen = [is_sampled(content, 0.25) for content in contents]
    assert chosen == [is_sampled(content, 0.25) for content in contents]
    assert sum(chosen) == len(contents) // 4
    assert not any(is_sampled(content, 0) for content in contents)
    assert all(is_sampled(content, 1) for content in contents)
