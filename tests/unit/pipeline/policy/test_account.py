"""Which rule decides, where it stands, and why the others did not: cases written down by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sluicegate.pipeline.command.policy_case import Case, read_case, told
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.account import account_for
from sluicegate.pipeline.policy.decider import SEVERITY
from sluicegate.pipeline.policy.document import presets
from sluicegate.pipeline.policy.layers import flatten
from sluicegate.pipeline.policy.rules import Rules
from sluicegate.schemas import CATEGORIES, Kind, Post, Scores

CASES = json.loads((Path(__file__).parents[3] / "golden" / "policy" / "explained.json").read_text())
SHIPPED = ("default", "starter", "social_network", "bank_adviser", "school_platform")


def shipped(name: str) -> Policy:
    text = (resources.files("sluicegate.pipeline.policy") / "shipped" / f"{name}.yaml").read_bytes()
    return Policy.from_bytes(text, f"{name}.yaml")


def test_there_are_cases_of_every_worked_example_and_of_every_action() -> None:
    assert len(CASES) >= 20
    assert {case["policy"] for case in CASES} == {
        "default",
        "social_network",
        "bank_adviser",
        "school_platform",
    }
    assert {case["expected"]["action"] for case in CASES} == {"allow", "review", "block"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_rule_is_named_with_its_place(case: dict[str, Any]) -> None:
    policy = shipped(case["policy"])
    subject = read_case(json.dumps(case["assessment"]), {})
    account = account_for(policy, subject, subject.scores, subject)
    assert {
        "action": account.action.value,
        "disposition": account.disposition,
        "parameters": dict(account.parameters),
        "rule": account.rule,
        "place": account.origin.place,
        "line": account.origin.line,
    } == case["expected"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_line_that_is_named_holds_the_value(case: dict[str, Any]) -> None:
    line = case["expected"]["line"]
    if line is None:
        assert case["expected"]["action"] == "allow"
        return
    path = resources.files("sluicegate.pipeline.policy") / "shipped" / f"{case['policy']}.yaml"
    text = path.read_text(encoding="utf-8").splitlines()[line - 1]
    value = case["expected"]["rule"].partition(">=")[2] or "failure_mode"
    assert value in text or "preset: loose" in text


def test_people_are_told_what_fired_and_why_the_rest_did_not() -> None:
    policy = shipped("social_network")
    subject = read_case(
        '{"scores": {"safe": 0.1, "controversial": 0.1, "unsafe": 0.8}, "categories": ["Violent"],'
        ' "category_scores": {"Violent": 0.7, "Suicide & Self-Harm": 0.1}}',
        {"tenant": "teens"},
    )
    lines = list(told(account_for(policy, subject, subject.scores, subject), policy, subject))
    assert lines[0] == "action       block, disposition takedown"
    assert lines[1] == "rule         categories.Violent.block_at.unsafe>=0.4 (tenants.teens.rules, line 36)"
    assert "tenants.teens.rules.preset = strict" in lines[2]
    assert "- Suicide & Self-Harm: its score 0.1 is below applies_at 0.2" in lines
    assert "+ Violent: named" in lines
    (fired,) = [line for line in lines if line.startswith("*")]
    assert (
        fired
        == "* categories.Violent.block_at.unsafe >= 0.4: 0.8 has reached 0.4 (tenants.teens.rules, line 36)"
    )
    assert any(
        line.endswith(
            "0.8 has reached 0.2, but what fired comes first (preset strict, tenants.teens.rules, line 33)"
        )
        for line in lines
    ), lines
    assert any("not asked: categories with rules of their own apply" in line for line in lines)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_policy_is_in_order(name: str) -> None:
    assert shipped(name).version == "1"


@pytest.mark.parametrize(
    ("name", "stricter", "milder"),
    [
        ("social_network", "teens", "default"),
        ("school_platform", "primary", "default"),
        ("school_platform", "primary", "upper"),
    ],
)
@pytest.mark.parametrize("category", [None, *CATEGORIES])
def test_whom_a_worked_example_calls_stricter_is_never_judged_more_mildly(
    name: str, stricter: str, milder: str, category: str | None
) -> None:
    policy = shipped(name)
    for unsafe, controversial, region in product(range(11), range(11), (None, "DE")):
        if unsafe + controversial > 10:
            continue
        rest = 10 - unsafe - controversial
        scores = Scores(safe=rest / 10, controversial=controversial / 10, unsafe=unsafe / 10)
        found = Case(scores, (category,) if category else ())
        severities = [
            SEVERITY.index(policy.decide(replace(found, tenant=tenant, region=region), scores, found).action)
            for tenant in (stricter, milder)
        ]
        assert severities[0] >= severities[1], (scores, region)


def test_the_starter_decides_as_the_built_in_policy_does() -> None:
    """Whoever begins with it starts from what was in force without it."""

    def values(policy: Policy, **fields: Any) -> dict[str, Any]:
        subject = read_case('{"failure": {}}', fields)
        return policy.rules(subject).model_dump()

    for kind in ("post", "prompt", "response"):
        assert values(shipped("starter"), kind=kind) == values(Policy.load(None), kind=kind)


def test_balanced_is_what_holds_without_a_preset_and_the_others_lie_on_either_side() -> None:
    built_in = flatten(Rules(), defaults=True)
    known = presets()
    assert known["balanced"].items() <= built_in.items()
    assert {frozenset(values) for values in known.values()} == {frozenset(known["balanced"])}

    def number(value: float | None) -> float:
        return 2.0 if value is None else value

    for path, value in known["balanced"].items():
        assert number(known["strict"][path]) < number(value) <= number(known["loose"][path]), path


@pytest.mark.parametrize(
    ("rules", "said", "line"),
    [
        ("{}", "answers nothing: no tolerance", None),
        ("{screen: {tolerance: 0.01}}", "may allow where at most 1 % of its answers are wrong", 3),
        (
            "{screen: {tolerance: 0.05, may_block: true}}",
            "may allow or block where at most 5 % of its answers are wrong",
            3,
        ),
    ],
)
def test_explain_says_what_a_screen_may_answer_and_where_that_is_written(
    rules: str, said: str, line: int | None
) -> None:
    policy = Policy.from_bytes(f"name: p\nversion: '1'\nrules: {rules}\n".encode(), "p.yaml")
    account = account_for(policy, Post(id="1", text="x"), None, None)
    assert (account.screen, account.screen_origin.line) == (said, line)
    case = Case(None, (), {}, "default", "post", None, None)
    assert any(text.startswith(f"screen       {said} (") for text in told(account, policy, case))


@pytest.mark.parametrize(
    ("kind", "scores", "said"),
    [
        ("response", (1.0, 0.0, 0.0), "asked for: this is a response (explain_responses)"),
        ("post", (0.7, 0.3, 0.0), "asked for: risk 0.3 has reached explain_at 0.3"),
        ("post", (0.8, 0.15, 0.05), "asked for: this is no allow"),
        (
            "post",
            (0.9, 0.05, 0.05),
            (
                "asked for: this would be no allow if it were Violent; "
                "it is made to begin with unsafe, since a category could change what follows"
            ),
        ),
        (
            "post",
            (0.96, 0.02, 0.02),
            "not asked for: risk 0.04 is below explain_at 0.3, and this is an allow",
        ),
    ],
)
def test_people_are_told_why_an_explanation_is_asked_for(
    kind: Kind, scores: tuple[float, float, float], said: str
) -> None:
    rules = {"review_at": {"risk": 0.2}, "categories": {"Violent": {"review_at": {"risk": 0.1}}}}
    policy = Policy.parse({"name": "p", "version": "1", "rules": rules})
    subject = Post(id="p", text="x", kind=kind)
    safe, controversial, unsafe = scores
    subject_scores = Scores(safe=safe, controversial=controversial, unsafe=unsafe)
    account = account_for(policy, subject, subject_scores, None)
    assert account.explanation == said
    assert account.categories == ()
    assert policy.needs_explanation(subject, subject_scores) == said.startswith("asked")
