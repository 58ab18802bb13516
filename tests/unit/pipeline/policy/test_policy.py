from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, ExplainedBy, Post, Scores

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.schemas import Severity

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
    assert school_prompt.dispositions[Action.BLOCK].name == "refuse"  # the kind's
    assert school_prompt.dispositions[Action.ALLOW].name == "none"  # everybody's
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
    assert decision.disposition == POLICY.rules(item).dispositions[decision.action].name
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
        ("name: a\nversion: '1'\nrules: {block_at: {unsafe: 1.5}}", ":3: rules.block_at.unsafe"),
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


LANGUAGE = Policy.parse(
    {
        "name": "language",
        "version": "1",
        "extra_categories": ["Spam"],
        "rules": {
            "dispositions": {"block": {"name": "rate_limit", "posts_per_hour": 2}},
            "categories": {
                "PII": {"block_at": {"unsafe": 0.3}},
                "Politically Sensitive Topics": {
                    "applies_at": 0.6,
                    "block_at": {"unsafe": None},
                    "review_at": {"unsafe": None, "risk": None},
                },
                "Spam": {"applies_at": 0.1, "dispositions": {"block": "hide"}},
            },
        },
        "tenants": {"calm": {"rules": {"preset": "strict", "max_tokens": 100, "max_segments": 2}}},
        "overrides": [
            {"when": {"region": ["DE", "US-CA"]}, "rules": {"block_at": {"unsafe": 0.7}}},
            {"when": {"language": "zh"}, "rules": {"block_at": {"unsafe": 0.6}}},
            {
                "when": {"tenant": "calm", "region": "DE", "kind": ["post", "prompt"]},
                "rules": {"block_at": {"unsafe": 0.2}},
            },
        ],
    }
)


class Found:
    """An explanation: categories named, and the score of each as the first one."""

    explained_as: Severity | None = "unsafe"
    explained_by: ExplainedBy | None = "text"
    explanation_failure: str | None = None

    def __init__(self, *categories: str, **category_scores: float) -> None:
        self.categories = categories
        self.category_scores = category_scores


def test_a_category_below_its_bar_keeps_the_general_thresholds_whatever_is_found_beside_it() -> None:
    policy = Policy.parse(
        {
            "name": "beside",
            "version": "1",
            "rules": {
                "categories": {
                    "Violent": {"applies_at": 0.5, "block_at": {"unsafe": 0.3}},
                    "Copyright Violation": {
                        "applies_at": 0.05,
                        "block_at": {"unsafe": None},
                        "review_at": {"unsafe": None, "risk": None},
                    },
                }
            },
        }
    )
    alone = Found("Violent", **{"Violent": 0.45, "Copyright Violation": 0.01})
    beside = Found("Violent", **{"Violent": 0.45, "Copyright Violation": 0.06})
    for found in (alone, beside):
        decision = policy.decide(post(), scores(0.95), found)
        assert (decision.action, decision.rule) == (Action.BLOCK, "block_at.unsafe>=0.8")


@pytest.mark.parametrize(
    ("fields", "threshold"),
    [
        ({}, 0.8),
        ({"region": "DE"}, 0.7),
        ({"region": "DE-BE"}, 0.7),  # a part of it
        ({"region": "US-CA"}, 0.7),
        ({"region": "US"}, 0.8),  # more than it
        ({"region": "US-CAL"}, 0.8),  # another name that begins alike
        ({"language": "ZH-Hant"}, 0.6),
        ({"language": "zhx"}, 0.8),
        ({"language": "zh", "region": "DE"}, 0.6),  # the last override that holds
        ({"tenant": "calm"}, 0.5),  # of the preset
        ({"tenant": "calm", "region": "DE", "kind": "prompt"}, 0.2),
        ({"tenant": "calm", "region": "DE", "kind": "response"}, 0.7),
    ],
)
def test_the_last_layer_that_holds_for_a_post_wins(fields: dict[str, Any], threshold: float) -> None:
    assert LANGUAGE.rules(post(**fields)).block_at.unsafe == threshold


def test_a_preset_sets_thresholds_and_leaves_the_rest() -> None:
    calm = LANGUAGE.rules(post(tenant="calm"))
    assert (calm.review_at.unsafe, calm.review_at.risk, calm.block_at.risk) == (0.2, 0.35, 0.8)
    assert calm.dispositions[Action.BLOCK].parameters == {"posts_per_hour": 2}
    assert calm.categories["PII"].block_at.unsafe == 0.3
    assert (calm.max_tokens, calm.max_segments) == (100, 2)


@pytest.mark.parametrize(
    ("found", "unsafe", "rule"),
    [
        (Found("PII"), 0.3, "categories.PII.block_at.unsafe>=0.3"),
        (Found("PII"), 0.29, "otherwise"),  # below explain_at: nobody asks for categories
        (Found("Violent"), 0.79, "review_at.unsafe>=0.4"),  # no rules of its own
        (Found(), 0.79, "review_at.unsafe>=0.4"),
        # Two apply: the severest decides, whatever the order.
        (Found("PII", "Violent"), 0.5, "categories.PII.block_at.unsafe>=0.3"),
        (Found("Violent", "PII"), 0.5, "categories.PII.block_at.unsafe>=0.3"),
        # By its score where there are scores, by its name where there are none.
        (Found("Violent", Spam=0.2, Violent=0.8), 0.9, "categories.Spam.block_at.unsafe>=0.8"),
        (Found("Violent", Spam=0.05, Violent=0.9), 0.9, "block_at.unsafe>=0.8"),
        (Found("Spam"), 0.9, "categories.Spam.block_at.unsafe>=0.8"),
    ],
)
def test_categories_that_apply_decide_and_the_severest_of_them(
    found: Found, unsafe: float, rule: str
) -> None:
    assert LANGUAGE.decide(post(), scores(unsafe), found).rule == rule


def test_a_milder_category_needs_its_score_and_no_other_category_beside_it() -> None:
    name = "Politically Sensitive Topics"
    sure, unsure = Found(name, **{name: 0.7}), Found(name, **{name: 0.5})
    assert LANGUAGE.decide(post(), scores(0.95), sure).action is Action.ALLOW
    assert LANGUAGE.decide(post(), scores(0.95), unsure).action is Action.BLOCK
    beside = Found(name, "Violent", **{name: 0.7})
    assert LANGUAGE.decide(post(), scores(0.95), beside).action is Action.BLOCK


def test_a_disposition_travels_with_its_parameters_and_never_with_anothers() -> None:
    general = LANGUAGE.decide(post(), scores(0.9))
    assert (general.disposition, general.parameters) == ("rate_limit", {"posts_per_hour": 2})
    spam = LANGUAGE.decide(post(), scores(0.9), Found("Spam"))
    assert (spam.disposition, spam.parameters) == ("hide", {})


def test_an_explanation_is_asked_for_wherever_a_category_could_change_the_action() -> None:
    keen = Policy.parse(
        {
            "name": "keen",
            "version": "1",
            "rules": {"explain_at": 0.9, "categories": {"PII": {"review_at": {"unsafe": 0.1}}}},
        }
    )
    assert keen.needs_explanation(post(), scores(0.1))
    assert not keen.needs_explanation(post(), scores(0.09))


def test_an_explanation_that_this_policy_would_not_have_asked_for_changes_nothing() -> None:
    """Whether it is there depends on what other tenants asked for the same text."""
    policy = Policy.parse(
        {
            "name": "calm",
            "version": "1",
            "rules": {"categories": {"PII": {"dispositions": {"allow": "hint"}}}},
        }
    )
    quiet = scores(0.1)
    assert not policy.needs_explanation(post(), quiet)
    assert policy.decide(post(), quiet, Found("PII")) == policy.decide(post(), quiet)
    assert policy.decide(post(), scores(0.35), Found("PII")).disposition == "hint"


def test_two_files_with_the_same_digest_name_the_same_rule() -> None:
    names = ["PII", "Violent"]
    policies = [
        Policy.parse(
            {
                "name": "n",
                "version": "1",
                "rules": {"categories": {name: {"block_at": {"unsafe": 0.5}} for name in order}},
            }
        )
        for order in (names, names[::-1])
    ]
    assert policies[0].digest == policies[1].digest
    found = Found(*names)
    assert policies[0].decide(post(), scores(0.6), found) == policies[1].decide(post(), scores(0.6), found)


def test_every_value_of_a_policy_is_in_its_digest() -> None:
    def digest(**rules: Any) -> str:
        return Policy.parse({"name": "n", "version": "1", "rules": rules}).digest

    different = [
        digest(),
        digest(preset="strict"),
        digest(preset="loose"),
        digest(max_tokens=100),
        digest(max_tokens=101),
        digest(dispositions={"block": "ban"}),
        digest(dispositions={"block": {"name": "ban", "days": 1}}),
        digest(dispositions={"block": {"name": "ban", "days": 2}}),
        digest(categories={"PII": {"applies_at": 0.2}}),
        digest(categories={"Violent": {"applies_at": 0.2}}),
        Policy.parse({"name": "n", "version": "2"}).digest,
        Policy.parse(
            {
                "name": "n",
                "version": "1",
                "overrides": [{"when": {"region": "DE"}, "rules": {"explain_at": 0}}],
            }
        ).digest,
        Policy.parse(
            {
                "name": "n",
                "version": "1",
                "overrides": [{"when": {"region": "AT"}, "rules": {"explain_at": 0}}],
            }
        ).digest,
    ]
    assert len(set(different)) == len(different)


BARS = Policy.parse(
    {
        "name": "bars",
        "version": "1",
        "rules": {
            "failure_mode": "review",
            "categories": {
                "PII": {"block_at": {"unsafe": 0.3}},
                "Violent": {"dispositions": {"review": "call_police"}},
            },
        },
        "kinds": {"response": {"failure_mode": "block"}},
        "tenants": {
            "open": {"rules": {"failure_mode": "allow"}},
            "plain": {
                "rules": {
                    "categories": {
                        "PII": {"block_at": {"unsafe": 0.8}},
                        "Violent": {"dispositions": {"review": "limit_reach"}},
                    }
                }
            },
        },
    }
)


@pytest.mark.parametrize(
    ("fields", "found", "severity"),
    [
        ({}, scores(0.1, 0.1), None),  # a confident allow
        ({}, scores(0.31), "unsafe"),  # safe, and a block if it were PII
        ({}, scores(0.3, 0.31), "controversial"),  # already not safe
        ({}, scores(0.15, 0.16), "safe"),  # an allow whatever the category
        ({}, scores(0.41), "unsafe"),  # a block if it were PII
        ({"tenant": "plain"}, scores(0.41), "safe"),  # a review whatever the category
        ({"kind": "response"}, scores(0.0), "safe"),  # for its refusal alone
        ({"kind": "response"}, scores(0.31), "unsafe"),
    ],
)
def test_an_explanation_begins_with_harm_where_a_category_could_change_what_follows(
    fields: dict[str, Any], found: Scores, severity: str | None
) -> None:
    assert BARS.explain_as(post(**fields), found) == severity
    assert BARS.needs_explanation(post(**fields), found) == (severity is not None)


def test_of_two_equal_harms_the_severer_one_begins_the_explanation() -> None:
    policy = Policy.parse(
        {**BARS.written.data, "rules": {"categories": {"PII": {"review_at": {"risk": 0.2}}}}}
    )
    assert policy.explain_as(post(), scores(0.2, 0.2)) == "unsafe"
    assert policy.explain_as(post(), scores(0.19, 0.2)) == "controversial"


def test_another_disposition_is_reason_enough_to_ask_for_the_category() -> None:
    policy = Policy.parse(
        {
            "name": "n",
            "version": "1",
            "rules": {"categories": {"Violent": {"dispositions": {"review": "call_police"}}}},
        }
    )
    safe = scores(0.41)
    assert policy.explain_as(post(), safe) == "unsafe"
    assert policy.decide(post(), safe, Found("Violent")).disposition == "call_police"


class Unexplained(Found):
    def __init__(
        self, explained_as: Severity | None, failure: str | None = None, by: ExplainedBy = "text"
    ) -> None:
        super().__init__()
        self.explained_as = explained_as
        self.explained_by = by
        self.explanation_failure = failure


@pytest.mark.parametrize("found", [Unexplained(None, "timed_out"), Unexplained(None), Unexplained("safe")])
@pytest.mark.parametrize(
    ("fields", "given", "action", "rule"),
    [
        ({}, scores(0.31), Action.BLOCK, "categories.PII.block_at.unsafe>=0.3"),
        ({}, scores(0.85), Action.BLOCK, "block_at.unsafe>=0.8"),  # of equals the general one is named
        ({"tenant": "open"}, scores(0.31), Action.BLOCK, "categories.PII.block_at.unsafe>=0.3"),
        ({"kind": "response"}, scores(0.0, 0.61), Action.BLOCK, "failure_mode"),
    ],
)
def test_without_a_usable_explanation_the_severest_bar_decides_or_the_failure_mode(
    found: Unexplained, fields: dict[str, Any], given: Scores, action: Action, rule: str
) -> None:
    decision = BARS.decide(post(**fields), given, found)
    assert (decision.action, decision.rule) == (action, rule)
    assert decision.disposition == BARS.rules(post(**fields)).dispositions[action].name


@pytest.mark.parametrize(
    ("fields", "action"),
    [({}, Action.REVIEW), ({"tenant": "open"}, Action.ALLOW), ({"kind": "response"}, Action.BLOCK)],
)
def test_an_allow_whose_explanation_failed_gets_the_failure_mode(
    fields: dict[str, Any], action: Action
) -> None:
    decision = BARS.decide(post(**fields), scores(0.15, 0.16), Unexplained(None, "timed_out"))
    assert (decision.action, decision.rule) == (
        action,
        "otherwise" if action is Action.ALLOW else "failure_mode",
    )


def test_an_explanation_that_began_with_safe_will_do_where_no_category_matters() -> None:
    assert BARS.decide(post(), scores(0.15, 0.16), Unexplained("safe")).rule == "otherwise"
    # One that began with harm serves both.
    assert BARS.decide(post(), scores(0.15, 0.16), Found("PII")).action is Action.ALLOW


def test_the_likeliest_category_alone_will_do_unless_a_second_one_could_change_what_follows() -> None:
    alone, whole = Found("Violent"), Found("Violent")
    alone.explained_by = "category"
    between = scores(0.31)  # PII blocks, everything else is allowed
    assert BARS.decide(post(), between, whole).action is Action.ALLOW
    assert BARS.decide(post(), between, alone).rule == "categories.PII.block_at.unsafe>=0.3"
    assert BARS.decide(post(), scores(0.1, 0.21), alone).action is Action.ALLOW
    # Both block, but while blocks are withheld a second category could name another queue.
    assert BARS.decide(post(), scores(0.85), whole).rule == "categories.Violent.block_at.unsafe>=0.8"
    assert BARS.decide(post(), scores(0.85), alone).rule == "block_at.unsafe>=0.8"
    assert BARS.wants_text(post(), scores(0.85), reasons=False)


@pytest.mark.parametrize(
    ("rules", "fields", "given", "reasons", "text"),
    [
        ({}, {}, scores(0.1), True, False),  # nothing is explained
        ({}, {}, scores(0.9), False, False),
        ({}, {}, scores(0.9), True, True),
        ({}, {}, scores(0.2, 0.2), True, False),  # it begins with safe, and a safe text has no reason
        ({}, {"kind": "response"}, scores(0.1), False, True),
        ({"explain_responses": False}, {"kind": "response"}, scores(0.9), False, False),
        ({"explain_text": "needed"}, {}, scores(0.9), True, False),
        ({"explain_text": "needed"}, {"kind": "response"}, scores(0.9), False, True),
        (
            {"explain_text": "needed", "categories": {"PII": {"block_at": {"unsafe": 0.3}}}},
            {},
            scores(0.5),
            False,
            True,
        ),
        (
            {"explain_text": "needed", "categories": {"PII": {"block_at": {"unsafe": 0.3}}}},
            {},
            scores(0.9),
            False,
            False,
        ),
        ({"explain_text": "always"}, {}, scores(0.2, 0.2), False, True),
        ({"explain_text": "always"}, {}, scores(0.1), True, False),
    ],
)
def test_a_text_is_wanted_for_a_refusal_a_reason_or_several_categories(
    rules: dict[str, Any], fields: dict[str, Any], given: Scores, reasons: bool, text: bool
) -> None:
    found = Policy.parse({"name": "n", "version": "1", "rules": rules})
    assert found.wants_text(post(**fields), given, reasons=reasons) is text


def test_a_policy_that_says_nothing_of_texts_keeps_its_digest() -> None:
    plain, said = (
        {"name": "n", "version": "1", "rules": rules} for rules in ({}, {"explain_text": "needed"})
    )
    assert Policy.parse(plain).digest == Policy.parse({"name": "n", "version": "1"}).digest
    assert Policy.parse(plain).digest != Policy.parse(said).digest
