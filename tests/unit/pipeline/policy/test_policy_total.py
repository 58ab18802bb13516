"""Whatever a policy says: every assessment of every tenant has one outcome, and the account of it agrees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.account import account_for
from sluicegate.pipeline.policy.decider import SEVERITY
from sluicegate.schemas import CATEGORIES, Action, Post, Scores

TENANTS, REGIONS, LANGUAGES = ("a", "b"), ("DE", "US", "US-CA"), ("en", "zh-hant")
NAMES = CATEGORIES[:3]
shares = st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0])
thresholds = st.fixed_dictionaries({}, optional={"unsafe": st.none() | shares, "risk": st.none() | shares})
dispositions = st.dictionaries(
    st.sampled_from([action.value for action in Action]),
    st.sampled_from(["none", "warn", {"name": "rate_limit", "posts_per_hour": 2}]),
)
bars = {"block_at": thresholds, "review_at": thresholds, "dispositions": dispositions}
rules = st.fixed_dictionaries(
    {},
    optional={
        **bars,
        "preset": st.sampled_from(["strict", "balanced", "loose"]),
        "failure_mode": st.sampled_from([action.value for action in Action]),
        "explain_at": shares,
        "explain_responses": st.booleans(),
        "max_wait_seconds": st.none() | st.integers(1, 9),
        "categories": st.dictionaries(
            st.sampled_from(NAMES),
            st.fixed_dictionaries({}, optional={**bars, "applies_at": shares}),
            max_size=2,
        ),
    },
)
kinds = st.dictionaries(st.sampled_from(["post", "prompt", "response"]), rules, max_size=2)
conditions = st.fixed_dictionaries(
    {"kind": st.sampled_from(["post", "response"])},
    optional={
        "tenant": st.sampled_from(TENANTS),
        "region": st.lists(st.sampled_from(REGIONS), min_size=1, max_size=2),
        "language": st.sampled_from(LANGUAGES),
    },
)
documents = st.fixed_dictionaries(
    {"name": st.just("any"), "version": st.just("1")},
    optional={
        "rules": rules,
        "kinds": kinds,
        "tenants": st.dictionaries(
            st.sampled_from(TENANTS), st.fixed_dictionaries({}, optional={"rules": rules, "kinds": kinds})
        ),
        "overrides": st.lists(st.fixed_dictionaries({"when": conditions, "rules": rules}), max_size=2),
    },
)
posts = st.builds(
    Post,
    id=st.just("p"),
    text=st.just("x"),
    tenant=st.sampled_from([*TENANTS, "default", "nobody-knows"]),
    kind=st.sampled_from(["post", "prompt", "response"]),
    region=st.none() | st.sampled_from([*REGIONS, "FR", "DE-BE"]),
    language=st.none() | st.sampled_from([*LANGUAGES, "ZH-Hant-TW", "fr"]),
)
found = st.none() | st.builds(
    SimpleNamespace,
    categories=st.lists(st.sampled_from([*CATEGORIES, "Unheard of"]), unique=True, max_size=3).map(tuple),
    category_scores=st.dictionaries(st.sampled_from([*NAMES, "None", "Unheard of"]), st.floats(0, 1)),
    explained_as=st.none() | st.sampled_from(["safe", "controversial", "unsafe"]),
    explained_by=st.sampled_from(["text", "category"]),
    explanation_failure=st.none() | st.just("timed_out"),
)


@st.composite
def all_scores(draw: st.DrawFn) -> Scores:
    unsafe = draw(shares | st.floats(0, 1))
    controversial = draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)) * (1 - unsafe)
    return Scores(safe=max(0.0, 1 - unsafe - controversial), controversial=controversial, unsafe=unsafe)


def policy_of(document: dict[str, Any]) -> Policy:
    """The policy; documents with a value that can never decide, or open to strangers, are passed over."""
    try:
        return Policy.parse(document)
    except InvalidPolicyError as error:
        passed_over = ("never", "tenants that the policy does not know")
        assume(not all(any(words in fault.wrong for words in passed_over) for fault in error.faults))
        raise


@given(document=documents, post=posts, scores=all_scores(), explanation=found)
def test_every_assessment_of_every_tenant_has_exactly_one_outcome_and_the_account_agrees(
    document: dict[str, Any], post: Post, scores: Scores, explanation: Any
) -> None:
    policy = policy_of(document)
    rules = policy.rules(post)
    decision = policy.decide(post, scores, explanation)
    assert (
        decision
        == policy.decide(post, scores, explanation)
        == Policy.parse(document).decide(post, scores, explanation)
    )
    assert decision.action in SEVERITY
    # Nothing but an allow may come of what nobody asked an explanation for.
    if not policy.needs_explanation(post, scores):
        assert decision.action is Action.ALLOW
        assert decision == policy.decide(post, scores)

    account = account_for(policy, post, scores, explanation)
    assert (account.action, account.disposition, account.rule) == (
        decision.action,
        decision.disposition,
        decision.rule,
    )
    fired = [check for check in account.checks if check.fired]
    by_a_bar = decision.action is not Action.ALLOW and decision.rule != "failure_mode"
    assert len(fired) == int(by_a_bar)
    for check in fired:
        assert check.threshold is not None
        assert check.value >= check.threshold
        assert decision.rule == f"{check.rule}>={check.threshold:g}"
    # Whatever was reached by what was asked is never severer than what was decided.
    for check in account.checks:
        if (
            check.threshold is not None
            and check.value >= check.threshold
            and not check.said.startswith("not asked")
        ):
            asked = Action.BLOCK if ".block_at." in f".{check.rule}" else Action.REVIEW
            assert SEVERITY.index(asked) <= SEVERITY.index(decision.action)

    failed = policy.decide_failure(post)
    assert failed.action is rules.failure_mode
    assert failed.disposition == rules.dispositions[failed.action].name
    assert account_for(policy, post, None, None).rule == "failure_mode"


@given(document=documents, post=posts, scores=all_scores(), explanation=found)
def test_without_a_usable_explanation_nothing_is_milder_than_any_bar_or_the_failure_mode(
    document: dict[str, Any], post: Post, scores: Scores, explanation: Any
) -> None:
    policy = policy_of(document)
    rules, wanted = policy.rules(post), policy.explain_as(post, scores)
    assume(explanation is not None and wanted is not None)
    usable = (
        explanation.explanation_failure is None
        and explanation.explained_as is not None
        and (wanted == "safe" or explanation.explained_as != "safe")
        and (explanation.explained_by == "text" or not policy.decider(post).hangs_on_a_category(scores))
    )
    decision = policy.decide(post, scores, explanation)
    every = [bars.outcome(scores)[0] for bars in (rules, *rules.categories.values())]
    severest = max([*every, rules.failure_mode], key=SEVERITY.index)
    if usable:
        assert decision.action in every
    else:
        assert decision.action is severest
        assert (decision.rule == "failure_mode") == (severest not in every)


@given(document=documents, post=posts, scores=all_scores())
def test_every_bar_that_is_reached_can_decide_once_its_category_is_named(
    document: dict[str, Any], post: Post, scores: Scores
) -> None:
    policy = policy_of(document)
    wanted = policy.explain_as(post, scores)
    categories = policy.rules(post).categories
    always = {name for name, bars in categories.items() if bars.applies_at == 0}  # decide beside any other
    for name, bars in categories.items():
        action, rule = bars.outcome(scores)
        if action is Action.ALLOW or always - {name}:
            continue
        named = SimpleNamespace(
            categories=(name,),
            category_scores={name: 1.0},
            explained_as=wanted,
            explained_by="text",
            explanation_failure=None,
        )
        assert policy.decide(post, scores, named).rule == f"categories.{name}.{rule}"


@given(document=documents, post=posts)
def test_a_failure_is_an_allow_only_where_the_policy_says_so(document: dict[str, Any], post: Post) -> None:
    policy = policy_of(document)
    if policy.decide_failure(post).action is Action.ALLOW:
        assert post.tenant in TENANTS  # never one that nobody wrote rules for
        assert "'failure_mode': 'allow'" in str(document)


@given(document=documents, unsafe=st.floats(0, 1), more=st.floats(0, 1), post=posts)
def test_a_higher_score_is_never_judged_more_mildly(
    document: dict[str, Any], unsafe: float, more: float, post: Post
) -> None:
    policy = policy_of(document)
    low, high = sorted([unsafe, more])
    actions = [
        SEVERITY.index(policy.decide(post, Scores(safe=1 - one, controversial=0, unsafe=one)).action)
        for one in (low, high)
    ]
    assert actions[0] <= actions[1]


def reachable(document: dict[str, Any]) -> bool:
    try:
        Policy.parse(document)
    except InvalidPolicyError:
        return False
    return True


@given(block=thresholds, review=thresholds)
def test_a_threshold_is_refused_exactly_if_no_scores_make_it_fire(
    block: dict[str, float | None], review: dict[str, float | None]
) -> None:
    """Against every pair of scores on the grid that all thresholds of this test lie on."""
    document = {
        "name": "n",
        "version": "1",
        "rules": {
            "block_at": {"unsafe": None, "risk": None, **block},
            "review_at": {"unsafe": None, "risk": None, **review},
        },
    }
    written = {
        f"{action}.{name}>={value:g}"
        for action, part in (("block_at", block), ("review_at", review))
        for name, value in part.items()
        if value is not None
    }
    grid = [number / 10 for number in range(11)]
    fired = set()
    for unsafe in grid:
        for risk in grid:
            if risk >= unsafe:
                fired.add(_rule(document["rules"], unsafe, risk))
    assert reachable(document) == (written <= fired)


def _rule(rules: Any, unsafe: float, risk: float) -> str:
    """The first threshold reached, worked out anew."""
    for action in ("block_at", "review_at"):
        for name, value in (("unsafe", unsafe), ("risk", risk)):
            threshold = rules[action][name]
            if threshold is not None and value >= threshold:
                return f"{action}.{name}>={threshold:g}"
    return "otherwise"
