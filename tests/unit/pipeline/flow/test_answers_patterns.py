"""A shared pattern in the path: it raises what the policy allows to review, and changes nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow.answers import Answers, Moment
from sluicegate.pipeline.flow.decision import (
    assess,
    engine_reference,
    policys_action,
    raise_allow,
)
from sluicegate.pipeline.flow.in_work import Found, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.patterns.matcher import Match
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import Action, AssessedBy, FailureCode, MadeVerdict, Post, Scores
from unit.pipeline.fakes import MemoryDelivery

POLICY = Policy.parse(
    {
        "name": "bars",
        "version": "1",
        "rules": {
            "block_at": {"unsafe": 0.8},
            "review_at": {"unsafe": 0.4, "risk": None},
            "explain_at": 0.99,
            "dispositions": {"allow": "none", "review": "limit_reach", "block": "takedown"},
        },
        "tenants": {"teens": {"rules": {"failure_mode": "allow"}}},
    }
)
ACTS = Policy.parse(
    {
        "name": "acts",
        "version": "1",
        "rules": {"explain_at": 0.99, "block_breaker": {"share": None, "count": 2}},
        "tenants": {"teens": {"rules": {"confirmed_pattern": "block", "failure_mode": "allow"}}},
    }
)
CODE = f"shared_pattern_{'a' * 16}"


class Always:
    """Matches every post, and remembers which."""

    def __init__(self, *, confirmed: bool = False) -> None:
        self._confirmed = confirmed
        self.asked: list[tuple[str, str]] = []

    def match(self, tenant: str, text: str) -> Match:
        self.asked.append((tenant, text))
        return Match(CODE, self._confirmed)


def made(matcher: Always | None) -> Answers:
    return Answers(Settings(), instruments=Instruments.for_engine(1), matcher=cast("Any", matcher))


def decided(
    unsafe: float | None, matcher: Always | None, policy: Policy = POLICY, answers: Answers | None = None
) -> tuple[str, MadeVerdict]:
    """The topic and the verdict of a post with this P(unsafe); None for one that could not be scored."""
    info = FakeEngine().info
    route: Any = SimpleNamespace(
        info=info, stamp=engine_reference(info), finding=lambda finding, _post: finding
    )
    slot = Slot(cast("Any", MemoryDelivery(0)), 1, 0.0)
    post = PostInWork(
        slot,
        Post(id="p", text="abc", tenant="teens"),
        route,
        Parts((Part(Prompt((1,), "post", 0, (0, 1)), 0, 3),)),
        (b"k",),
    )
    if unsafe is None:
        post.found = [Found(ItemFailure(FailureCode.TIMED_OUT), AssessedBy.NONE)]
    else:
        scores = Scores(safe=1 - unsafe, controversial=0.0, unsafe=unsafe)
        post.found = [Found(assess(scores, None), AssessedBy.ENGINE)]
    answers = answers or made(matcher)
    answer, verdict, _ = answers.decide(post, policy, Moment(1.0, datetime.now(UTC)))
    return cast("Any", answer.record).topic, verdict


@pytest.mark.parametrize("unsafe", [0.1, None])
def test_what_the_policy_allows_becomes_a_review_with_the_patterns_code(unsafe: float | None) -> None:
    topic, verdict = decided(unsafe, Always())
    assert (topic, verdict.action, verdict.disposition) == ("verdicts.review", Action.REVIEW, "limit_reach")
    assert verdict.reason_codes == (CODE,)
    assert verdict.checked.outcome == "pattern"
    assert policys_action(verdict) is Action.ALLOW
    _, plain = decided(unsafe, None)
    assert (plain.action, plain.reason_codes) == (Action.ALLOW, ())
    assert (verdict.scores, verdict.severity, verdict.policy) == (plain.scores, plain.severity, plain.policy)
    assert verdict.verdict_id != plain.verdict_id


@pytest.mark.parametrize(("unsafe", "action"), [(0.5, Action.REVIEW), (0.95, Action.BLOCK)])
def test_what_the_policy_does_not_allow_is_not_even_looked_up(unsafe: float, action: Action) -> None:
    matcher = Always()
    _, verdict = decided(unsafe, matcher)
    assert (verdict.action, verdict.reason_codes, matcher.asked) == (action, (), [])


@pytest.mark.parametrize("action", [Action.REVIEW, Action.BLOCK])
def test_nothing_but_an_allow_can_be_raised(action: Action) -> None:
    _, verdict = decided({Action.REVIEW: 0.5, Action.BLOCK: 0.95}[action], None)
    with pytest.raises(ValueError, match="raises what the policy allows"):
        raise_allow(verdict, Post(id="p", text="abc"), POLICY, code=CODE, confirmed=True)


def test_the_tenant_and_the_text_are_what_is_asked_about() -> None:
    matcher = Always()
    decided(0.1, matcher)
    assert matcher.asked == [("teens", "abc")]


def test_a_tenants_policy_may_block_what_people_here_confirmed() -> None:
    topic, verdict = decided(0.1, Always(confirmed=True), ACTS)
    assert (topic, verdict.action, verdict.disposition) == ("verdicts.block", Action.BLOCK, "takedown")
    assert (verdict.policy.rule, verdict.reason_codes) == ("confirmed_pattern.block", (CODE,))
    assert verdict.checked.outcome == "pattern"
    assert policys_action(verdict) is Action.ALLOW


@pytest.mark.parametrize(
    ("unsafe", "confirmed", "policy"),
    [(0.1, False, ACTS), (None, True, ACTS), (0.1, True, POLICY)],
    ids=["nobody here confirmed it", "nothing was judged", "the policy does not want it"],
)
def test_in_all_other_cases_a_match_is_a_review(
    unsafe: float | None, confirmed: bool, policy: Policy
) -> None:
    topic, verdict = decided(unsafe, Always(confirmed=confirmed), policy)
    assert (topic, verdict.action, verdict.reason_codes) == ("verdicts.review", Action.REVIEW, (CODE,))
    assert verdict.checked


def test_the_breaker_counts_what_a_pattern_blocks_and_withholds_it() -> None:
    answers = made(Always(confirmed=True))
    verdicts = [decided(0.1, None, ACTS, answers)[1] for _ in range(4)]
    assert [one.action for one in verdicts] == [Action.BLOCK] * 2 + [Action.REVIEW] * 2
    withheld = verdicts[-1]
    assert withheld.breaker is not None
    assert withheld.reason_codes == (CODE,)
    assert withheld.checked.outcome == "pattern"
    assert policys_action(withheld) is Action.ALLOW
