from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, Post, Scores

if TYPE_CHECKING:
    from pathlib import Path

POLICY = Policy.parse(
    {
        "name": "test",
        "version": "7",
        "rules": {
            "block_at": {"unsafe": 0.8},
            "review_at": {"unsafe": 0.4, "risk": 0.6},
            "dispositions": {"allow": "none", "review": "limit_reach", "block": "takedown"},
        },
        "kinds": {"prompt": {"dispositions": {"block": "refuse"}}},
        "tenants": {
            "school": {
                "rules": {"block_at": {"unsafe": 0.5}},
                "kinds": {"prompt": {"failure_mode": "block"}},
            },
            "open": {"rules": {"failure_mode": "allow", "max_wait_seconds": 30}},
        },
    }
)


def scores(unsafe: float, controversial: float = 0.0) -> Scores:
    return Scores(safe=1 - unsafe - controversial, controversial=controversial, unsafe=unsafe)


def post(**fields: Any) -> Post:
    return Post(id="p", text="x", **fields)


@pytest.mark.parametrize(
    ("found", "action", "rule"),
    [
        (scores(0.8), Action.BLOCK, "block_at.unsafe>=0.8"),
        (scores(0.79), Action.REVIEW, "review_at.unsafe>=0.4"),
        (scores(0.1, 0.5), Action.REVIEW, "review_at.risk>=0.6"),
        (scores(0.1, 0.4), Action.ALLOW, "otherwise"),
    ],
)
def test_thresholds_decide(found: Scores, action: Action, rule: str) -> None:
    decision = POLICY.decide(post(), found)
    assert (decision.action, decision.rule) == (action, rule)


def test_later_layers_win_and_leave_the_rest() -> None:
    school_prompt = POLICY.rules(post(tenant="school", kind="prompt"))
    assert school_prompt.block_at.unsafe == 0.5  # the tenant's
    assert school_prompt.dispositions[Action.BLOCK] == "refuse"  # the kind's
    assert school_prompt.dispositions[Action.ALLOW] == "none"  # everybody's
    assert school_prompt.failure_mode is Action.BLOCK  # the tenant's kind's
    assert POLICY.rules(post(tenant="school")).failure_mode is Action.REVIEW


def test_two_tenants_get_different_actions_from_the_same_scores() -> None:
    found = scores(0.6)
    assert POLICY.decide(post(), found).action is Action.REVIEW
    assert POLICY.decide(post(tenant="school"), found).action is Action.BLOCK


def test_an_unknown_tenant_gets_the_base_and_never_fails_open() -> None:
    assert POLICY.decide_failure(post(tenant="nobody-knows")).action is Action.REVIEW
    assert POLICY.decide_failure(post(tenant="open")).action is Action.ALLOW


@given(
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).filter(
        lambda found: sum(found) > 1e-3
    ),
    tenant=st.sampled_from(["default", "school", "open", "x"]),
    kind=st.sampled_from(["post", "prompt", "response"]),
)
def test_every_assessment_of_every_tenant_has_one_outcome(
    parts: tuple[float, float, float], tenant: str, kind: str
) -> None:
    total = sum(parts)
    found = Scores(safe=parts[0] / total, controversial=parts[1] / total, unsafe=parts[2] / total)
    item = post(tenant=tenant, kind=kind)
    decision = POLICY.decide(item, found)
    assert decision.disposition == POLICY.rules(item).dispositions[decision.action]
    if decision.action is not Action.ALLOW:
        assert POLICY.needs_explanation(item, found)


def test_a_confident_allow_needs_no_explanation_but_a_response_does() -> None:
    assert not POLICY.needs_explanation(post(), scores(0.05))
    assert POLICY.needs_explanation(post(), scores(0.35))
    assert POLICY.needs_explanation(post(kind="response"), scores(0.0))


def test_the_digest_is_of_the_rules_not_of_the_file(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    first.write_text("name: a\nversion: '1'\nrules: {block_at: {unsafe: 0.9}}\n")
    second.write_text("# a comment\nversion: '1'\nname: a\nrules:\n  block_at:\n    unsafe: 0.90\n")
    third.write_text("name: a\nversion: '1'\nrules: {block_at: {unsafe: 0.91}}\n")
    digests = [Policy.load(path).digest for path in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "YAML"),
        ("[]", "policy"),
        ("version: '1'", "name"),
        ("name: a\nversion: '1'\nrule: {}", "rule"),
        ("name: a\nversion: '1'\nrules: {block_at: {unsafe: 1.5}}", "kinds.post.block_at.unsafe"),
        (
            "name: a\nversion: '1'\nrules: {review_at: {unsafe: 0.9}, block_at: {unsafe: 0.5}}",
            "can never fire",
        ),
        ("name: a\nversion: '1'\nrules: {failure_mode: ignore}", "failure_mode"),
        ("name: a\nversion: '1'\nrules: {dispositions: {block: 'Rm -rf'}}", "dispositions"),
        ("name: a\nversion: '1'\ntenants: {'../x': {}}", "tenants"),
        ("name: a\nversion: '1'\nkinds: {comment: {}}", "kinds.comment"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError) as refused:
        Policy.load(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)


def test_the_built_in_policy_loads_and_its_example_tenant_is_stricter() -> None:
    policy = Policy.load(None)
    found = scores(0.65)
    assert policy.decide(post(), found).action is Action.REVIEW
    assert policy.decide(post(tenant="school"), found).action is Action.BLOCK
