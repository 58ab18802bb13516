"""The block-volume breaker in the policy language: what may be written where, and how it is told."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.command.policy_case import Case, table, told
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.account import account_for
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.schemas import Scores

HEAD = "name: a\nversion: '1'\n"
CASE = Case(Scores(safe=0.05, controversial=0.05, unsafe=0.9), tenant="teens")


def policy(text: str) -> Policy:
    return Policy.from_bytes((HEAD + text).encode(), "p.yaml")


def explained(text: str) -> str:
    found = policy(text)
    lines = told(account_for(found, CASE, CASE.scores, CASE), found, CASE)
    (line,) = [line for line in lines if line.startswith("breaker")]
    return line


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules: {block_breaker: off}\n", "p.yaml:3: rules.block_breaker: `off` cannot be used; write what differs"),
        ("rules: {block_breaker: {share: 1.5}}\n", "rules.block_breaker.share: `1.5` cannot be used; write a number from 0 to 1"),
        ("rules: {block_breaker: {count: -1}}\n", "rules.block_breaker.count: `-1` cannot be used; write a whole number"),
        ("rules: {block_breaker: {count: 1.5}}\n", "rules.block_breaker.count: `1.5` cannot be used"),
        ("rules: {block_breaker: {least_posts: 0}}\n", "rules.block_breaker.least_posts: `0` cannot be used"),
        ("rules: {block_breaker: {interval_seconds: 0}}\n", "rules.block_breaker.interval_seconds: `0` cannot be used; write a number of seconds"),
        ("rules: {block_breaker: {interval_seconds: 86401}}\n", "rules.block_breaker.interval_seconds: `86401` cannot be used"),
        ("rules: {block_breaker: {shares: 0.5}}\n", "rules.block_breaker.shares: is unknown here; did you mean `share`?"),
        ("rules: {categories: {PII: {block_breaker: {count: 5}}}}\n", "is unknown here"),
        ("kinds:\n  prompt:\n    block_breaker: {count: 5}\n", "p.yaml:5: kinds.prompt.block_breaker: would hold for some of a tenant's posts only; write it under `rules`"),
        ("tenants: {t: {kinds: {post: {block_breaker: {count: 5}}}}}\n", "tenants.t.kinds.post.block_breaker: would hold for some"),
        ("overrides: [{when: {tenant: t, region: DE}, rules: {block_breaker: {count: 5}}}]\n", "overrides[1].rules.block_breaker: would hold for some"),
        ("overrides: [{when: {language: de}, rules: {block_breaker: {count: 5}}}]\n", "overrides[1].rules.block_breaker: would hold for some"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_breaker_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidPolicyError) as refused:
        policy(text)
    assert sentence in "\n".join(fault.sentence("p.yaml") for fault in refused.value.faults)


def test_values_are_laid_over_one_another_for_each_tenant() -> None:
    found = policy(
        "rules: {block_breaker: {count: 500, interval_seconds: 60}}\n"
        "tenants: {teens: {rules: {block_breaker: {share: null}}}}\n"
        "overrides: [{when: {tenant: [teens, forum]}, rules: {block_breaker: {count: 7}}}]\n"
    )
    values = {
        name: (one.share, one.count, one.interval_seconds)
        for name in ("teens", "forum", "unknown")
        for one in (found.breaker(name),)
    }
    assert values == {"teens": (None, 7, 60), "forum": (0.5, 7, 60), "unknown": (0.5, 500, 60)}
    assert found.breaker(None) == found.breaker("unknown")


def test_a_breaker_changes_the_digest() -> None:
    assert policy("").digest != policy("rules: {block_breaker: {count: 5}}\n").digest


def test_an_explanation_says_from_which_volume_on_and_where_that_is_written() -> None:
    assert explained("") == (
        "breaker      blocks become review beyond more than 50 % of at least 1000 posts in 300 s (built-in)"
    )
    both = explained("rules: {explain_at: 0.2}\ntenants: {teens: {rules: {block_breaker: {count: 20}}}}\n")
    assert both.endswith("1000 posts or more than 20 posts in 300 s (tenants.teens.rules, line 4)")
    assert "never trips" in explained("rules: {block_breaker: {share: null}}\n")


def test_a_comparison_names_the_tenants_whose_breaker_differs() -> None:
    old = policy("tenants: {teens: {rules: {block_breaker: {count: 5}}}, a: {rules: {explain_at: 0.2}}}\n")
    same = Diff(old, old)
    assert same.breakers == []
    assert "block_breaker" not in "\n".join(table(same))
    new = policy("tenants: {teens: {rules: {block_breaker: {count: 6}}}}\n")
    assert Diff(old, new).breakers == Diff(old, new).document()["breakers"] == ["teens"]
    everybody = Diff(old, policy("rules: {block_breaker: {share: 0.9}}\n"))
    assert everybody.breakers == ["(all others)", "a", "teens"]
    assert "another block_breaker for (all others), a, teens" in "\n".join(table(everybody))
