"""Folded forms through the flow: the higher risk decides, and a folded form costs no post its judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text import segmenter
from sluicegate.pipeline.flow.decision import assess, worst
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, FailureCode, Post, Scores, Verdict
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import ScriptedEngine
from unit.pipeline.shortcuts.turns import Turns

if TYPE_CHECKING:
    import pytest

    from sluicegate.schemas import Assessment

# The first rule that fits decides: the model is blind to disguises, and to what it does not know.
BLIND = FakeProfile(
    rules={"kill you": "unsafe", "shit": "controversial", "k1ll": "safe", "sh1t": "safe", "[good]": "safe"}
)
OFF = {"limits": {"folded_forms": False}}


def post(text: str, **fields: Any) -> dict[str, Any]:
    return {"id": "p", "text": text, **fields}


async def judge(*posts: dict[str, Any], **bench: Any) -> tuple[Verdict, Bench]:
    stand = Bench(**({"profile": BLIND} | bench))
    await stand.run(list(posts))
    return stand.outlet.verdict("p"), stand


async def test_a_disguised_post_is_decided_by_its_folded_form_which_the_verdict_names() -> None:
    verdict, bench = await judge(post("I will k1ll you"))
    assert (verdict.action, verdict.severity) == (Action.BLOCK, "unsafe")
    assert (verdict.form, verdict.form_rules) == ("folded", ("leet",))
    assert verdict.categories
    assert (verdict.segments.count, verdict.segments.end) == (1, None)
    assert bench.metric("folded_parts_total", assessed_by="engine") == 1
    assert bench.metric("folded_verdicts_total", rule="leet") == 1
    assert bench.acknowledged == [0]


async def test_switched_off_the_original_alone_is_judged() -> None:
    verdict, bench = await judge(post("I will k1ll you"), tree=OFF)
    assert (verdict.action, verdict.form, verdict.form_rules) == (Action.ALLOW, "original", ())
    assert bench.metric("folded_parts_total", assessed_by="engine") == 0


async def test_where_the_original_has_the_higher_risk_it_decides() -> None:
    rules = FakeProfile(rules={"k1ll": "unsafe", "kill": "safe"})
    verdict, bench = await judge(post("I will k1ll you"), profile=rules)
    assert (verdict.action, verdict.form, verdict.form_rules) == (Action.BLOCK, "original", ())
    assert bench.metric("folded_parts_total", assessed_by="engine") == 1
    assert bench.metric("folded_verdicts_total", rule="leet") == 0


async def test_an_undisguised_post_costs_no_second_call() -> None:
    engine = ScriptedEngine(BLIND)
    await judge(post("[good] morning to all of you"), engine=engine)
    assert sum(engine.scored) == 1


async def test_the_folded_form_is_answered_from_the_undisguised_posts_judgement_and_the_other_way_round() -> (
    None
):
    engine = ScriptedEngine(BLIND)
    plain = {"id": "q", "text": "I will kill you"}
    verdict, bench = await judge(plain, post("I will k1ll you"), plain | {"id": "r"}, engine=engine)
    assert sum(engine.scored) == 2
    assert verdict.action is bench.outlet.verdict("r").action is Action.BLOCK
    assert bench.outlet.verdict("q").form == "original"


async def test_a_folded_form_that_the_engine_fails_on_is_no_silent_allow() -> None:
    engine = FakeEngine(BLIND, faults=Faults(error=Fault(marker="kill you")))
    verdict, bench = await judge(post("I will k1ll you"), engine=engine)
    assert verdict.failure is not None
    assert (verdict.failure.code, verdict.action) == (FailureCode.ENGINE_ERROR, Action.REVIEW)
    assert (verdict.form, verdict.form_rules, verdict.scores) == ("folded", ("leet",), None)
    assert bench.acknowledged == [0]


async def test_a_folded_form_that_fails_leaves_an_original_as_severe_its_verdict() -> None:
    rules = FakeProfile(rules={"k1ll": "controversial", "kill": "safe"})
    engine = FakeEngine(rules, faults=Faults(error=Fault(marker="kill you")))
    verdict, _ = await judge(post("I will k1ll you"), engine=engine, profile=rules)
    assert verdict.failure is None
    assert (verdict.action, verdict.form) == (Action.REVIEW, "original")


async def test_a_tenant_that_fails_open_keeps_the_originals_verdict() -> None:
    engine = FakeEngine(BLIND, faults=Faults(error=Fault(marker="kill you")))
    policy = {"name": "p", "version": "1", "tenants": {"default": {"rules": {"failure_mode": "allow"}}}}
    verdict, _ = await judge(post("I will k1ll you"), engine=engine, policy=policy)
    assert (verdict.failure, verdict.action, verdict.form) == (None, Action.ALLOW, "original")


async def test_an_original_that_fails_is_not_rescued_by_a_milder_folded_form() -> None:
    rules = FakeProfile(rules={"kill": "safe"})
    engine = FakeEngine(rules, faults=Faults(error=Fault(marker="k1ll")))
    verdict, _ = await judge(post("I will k1ll time"), engine=engine, profile=rules)
    assert verdict.failure is not None
    assert (verdict.action, verdict.form, verdict.form_rules) == (Action.REVIEW, "original", ())


async def test_a_worse_folded_form_decides_beside_an_original_that_fails() -> None:
    engine = FakeEngine(BLIND, faults=Faults(error=Fault(marker="k1ll")))
    verdict, _ = await judge(post("I will k1ll you"), engine=engine)
    assert (verdict.action, verdict.form) == (Action.BLOCK, "folded")


async def test_a_fault_in_folding_costs_no_post_its_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(segmenter, "fold", broken)
    verdict, bench = await judge(post("I will k1ll you"), {"id": "q", "text": "[good] day"})
    assert (verdict.failure, verdict.action, verdict.form) == (None, Action.ALLOW, "original")
    assert bench.outlet.verdict("q").failure is None


async def test_a_tenant_that_waits_no_longer_gets_its_verdict_from_what_was_found() -> None:
    engine = ScriptedEngine(BLIND)
    policy = {"name": "p", "version": "1", "rules": {"max_wait_seconds": 0.1}}
    engine.away = 6
    verdict, _ = await judge(post("I will k1ll you"), engine=engine, policy=policy)
    assert verdict.failure is not None
    assert verdict.form == "original"


async def test_of_a_long_post_the_folded_segment_that_decides_is_told() -> None:
    profile = FakeProfile(max_prompt_tokens=600, rules=BLIND.rules)
    filler = "".join(f"[good] Ordinary sentence {number}. " for number in range(60))
    verdict, bench = await judge(post(filler + "I will k1ll you. " + filler), profile=profile)
    assert (verdict.action, verdict.form) == (Action.BLOCK, "folded")
    folded = filler + "I will kill you. " + filler
    assert "kill you" in folded[verdict.segments.start : verdict.segments.end]
    assert 0 <= verdict.segments.deciding < verdict.segments.count
    assert bench.acknowledged == [0]


def test_of_equal_risk_the_original_decides() -> None:
    same = assess(Scores(safe=0.1, controversial=0.2, unsafe=0.7), None)
    assert worst(Post(id="p", text="x"), [same, same], Policy.load(None)) == 0


def test_a_failure_of_a_folded_part_decides_only_where_it_is_severer() -> None:
    failed = ItemFailure(FailureCode.TIMED_OUT)
    safe = assess(Scores(safe=1, controversial=0, unsafe=0), None)
    odd = assess(Scores(safe=0.2, controversial=0.2, unsafe=0.6), None)
    post, policy = Post(id="p", text="x"), Policy.load(None)

    def decides(*findings: Assessment | ItemFailure) -> int:
        return worst(post, findings, policy, folded={1, 2})

    assert decides(failed, failed, failed) == 0
    assert decides(failed, safe, safe) == 0
    assert decides(safe, failed, safe) == 1
    assert decides(odd, failed, safe) == 0
    assert decides(safe, failed, odd) == 2


def test_a_part_with_a_bar_decides_only_from_there_on_or_where_it_failed() -> None:
    safe = assess(Scores(safe=1, controversial=0, unsafe=0), None)
    odd = assess(Scores(safe=0.2, controversial=0.2, unsafe=0.6), None)
    post, policy = Post(id="p", text="x"), Policy.load(None)
    assert worst(post, [safe, odd], policy, least_unsafe={1: 0.6}) == 1
    assert worst(post, [safe, odd], policy, least_unsafe={1: 0.61}) == 0
    assert worst(post, [safe, ItemFailure(FailureCode.TIMED_OUT)], policy, least_unsafe={1: 0.9}) == 1


async def test_a_finding_of_a_part_that_did_not_decide_is_not_traced_to_that_verdict() -> None:
    stand = Bench(profile=FakeProfile(rules={"k1ll you": "unsafe", "kill you": "safe"}))
    async with Turns(stand) as turns:
        first, second = await turns.judge(
            {"id": "a", "text": "I will k1ll you"}, {"id": "b", "text": "I will kill you"}
        )
    assert (first.action, first.form) == (Action.BLOCK, "original")
    assert (second.action, second.assessed_by) == (Action.ALLOW, AssessedBy.CACHE)
    assert second.reused_from is None  # that verdict says nothing of this finding


async def test_a_part_that_went_unread_is_told_of_a_post_that_is_read_in_its_folded_form_alone() -> None:
    """An invisible character in a word must not turn an unread part into a judgement."""
    profile = FakeProfile(max_prompt_tokens=600, rules={"ordinary": "safe"})
    for begin in ("An ordinary word. ", "An or\u200bdinary word. "):
        text = begin + "An ordinary sentence stands here. " * 60 + "The mark stands here."
        verdict, _ = await judge(
            post(text),
            engine=FakeEngine(profile, faults=Faults(error=Fault(marker="mark"))),
            profile=profile,
            policy={
                "name": "p",
                "version": "1",
                "tenants": {"default": {"rules": {"failure_mode": "allow"}}},
            },
        )
        assert verdict.failure is not None
        assert verdict.failure.code is FailureCode.ENGINE_ERROR
        assert verdict.severity is None
