"""Reuse in the flow: who answers for whom, who waits for whom, and that it is acknowledged like everything else."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow import near_duplicates as reuse
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, FailureCode, Post
from unit.pipeline.scripted import ScriptedEngine
from unit.pipeline.shortcuts.turns import ON, Turns, bench, in_turn

if TYPE_CHECKING:
    from sluicegate.schemas import Verdict

SURE = FakeProfile(rules={"kill you": "unsafe", "shop": "controversial", "library": "safe"})
SAFE, BAD = "The library opens at nine tomorrow morning", "I will kill you when you come home"


def post(number: int, text: str = SAFE, **fields: Any) -> dict[str, Any]:
    # Of a post that people read, the exact cache knows each copy that looks the same.
    return {"id": f"p{number}", "kind": "prompt", "text": text, **fields}


def hidden(text: str, number: int) -> str:
    """A copy that looks the same: zero-width characters at the places that a number names."""
    return "".join(one + "\u200b" * (number >> place & 1) for place, one in enumerate(text))


def told(verdict: Verdict) -> tuple[AssessedBy, Action]:
    return verdict.assessed_by, verdict.action


@pytest.mark.parametrize(("text", "action"), [(SAFE, Action.ALLOW), (BAD, Action.BLOCK)])
async def test_a_copy_that_looks_the_same_is_answered_with_what_was_found(text: str, action: Action) -> None:
    engine = ScriptedEngine(SURE)
    stand = bench(engine=engine)
    first, second = await in_turn(stand, post(0, text), post(1, hidden(text, 13)))
    assert (told(first), told(second)) == ((AssessedBy.ENGINE, action), (AssessedBy.NEAR_DUPLICATE, action))
    assert second.reused_from == first.verdict_id
    assert (second.scores, second.categories, second.reason) == (first.scores, first.categories, first.reason)
    assert second.verdict_id != first.verdict_id
    assert second.timings.engine_ms == 0
    assert sum(engine.scored) == 1
    assert stand.metric("cache_hits_total", how="near") == 1
    assert stand.acknowledged == [0, 1]


async def test_it_is_off_by_default() -> None:
    engine = ScriptedEngine(SURE)
    _, second = await in_turn(bench(engine=engine, tree={}), post(0), post(1, hidden(SAFE, 13)))
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE
    assert sum(engine.scored) == 2  # the folded form of the second is the first


async def test_an_exact_copy_is_the_exact_caches() -> None:
    first, second = await in_turn(bench(profile=SURE), post(0), post(1))
    assert (first.assessed_by, second.assessed_by) == (AssessedBy.ENGINE, AssessedBy.CACHE)


async def test_a_flood_of_copies_in_flight_costs_one_judgement() -> None:
    engine = ScriptedEngine(SURE)
    stand = bench(engine=engine)
    engine.gate.clear()
    flood = [post(number, hidden(BAD, number)) for number in range(600)]
    running = asyncio.create_task(stand.run(list(flood)))
    while stand.window.posts < 600 or not engine.scored:
        await asyncio.sleep(0)
    assert stand.acknowledged == []
    engine.gate.set()
    await running
    assert sum(engine.scored) == 1
    assert stand.acknowledged == list(range(600))
    verdicts = stand.outlet.verdicts
    assert {verdict.action for verdict in verdicts} == {Action.BLOCK}
    assert len({verdict.verdict_id for verdict in verdicts}) == 600
    assert {verdict.reused_from for verdict in verdicts[1:]} == {verdicts[0].verdict_id}


async def test_nothing_is_acknowledged_before_it_is_published() -> None:
    stand = bench(profile=SURE)
    async with Turns(stand) as turns:
        await turns.judge(post(0))
        stand.outlet.gate.clear()
        await turns.send(post(1, hidden(SAFE, 13)), post(2, hidden(SAFE, 14)))
        while stand.metric("cache_hits_total", how="near") < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert (stand.acknowledged, len(stand.outlet.records)) == ([0], 1)
        stand.outlet.gate.set()
    assert stand.acknowledged == [0, 1, 2]
    assert stand.outlet.verdict("p2").assessed_by is AssessedBy.NEAR_DUPLICATE


async def test_killed_between_reuse_and_publish_nothing_is_lost() -> None:
    stand = bench(profile=SURE)
    async with Turns(stand) as turns:
        await turns.judge(post(0))
        stand.outlet.gate.clear()
        await turns.send(post(1, hidden(SAFE, 13)))
        while not stand.metric("cache_hits_total", how="near"):
            await asyncio.sleep(0)
        await turns.kill()
    assert (stand.acknowledged, len(stand.outlet.records)) == ([0], 1)
    again = bench(profile=SURE)  # another worker reads the same record again
    (verdict,) = await in_turn(again, post(1, hidden(SAFE, 13)))
    assert (verdict.action, again.acknowledged) == (Action.ALLOW, [0])


async def test_those_that_wait_are_given_back_with_the_one_that_they_wait_for() -> None:
    engine = ScriptedEngine(SURE)
    stand = bench(engine=engine)
    engine.gate.clear()
    async with Turns(stand) as turns:
        await turns.send(post(0), post(1, hidden(SAFE, 13)))
        while not engine.scored:
            await asyncio.sleep(0)
        assert stand.flow.give_back() == 2
        engine.gate.set()
        while stand.instruments.busy.in_work:
            await asyncio.sleep(0)
        assert (stand.outlet.records, stand.acknowledged) == ([], [])
        first, second = await turns.judge(post(2, hidden(SAFE, 14)), post(3, hidden(SAFE, 15)))
    assert first.assessed_by is not AssessedBy.NEAR_DUPLICATE
    assert (second.assessed_by, second.reused_from) == (AssessedBy.NEAR_DUPLICATE, first.verdict_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": "another"},
        {"kind": "post"},
        {"kind": "response", "context": "a question"},
        {"language": "de"},
        {"region": "DE"},
    ],
)
async def test_tenant_kind_context_language_and_region_must_agree(fields: dict[str, Any]) -> None:
    stand = bench(profile=SURE)
    text = f"{SAFE}!!!!!"
    copies = post(1, text, **fields), post(2, f"{text}!!!", **fields)
    _, second, third = await in_turn(stand, post(0, text), *copies)
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE
    assert third.assessed_by is AssessedBy.NEAR_DUPLICATE


async def test_another_policy_begins_anew() -> None:
    stand = bench(profile=SURE)
    async with Turns(stand) as turns:
        await turns.judge(post(0))
        stand.policy = Policy.parse({"name": "another", "version": "1"})
        (second,) = await turns.judge(post(1, hidden(SAFE, 13)))
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE


async def test_a_policy_that_changes_while_the_engine_judges_is_no_bar_that_was_looked_at() -> None:
    engine = ScriptedEngine(SURE)
    stand = bench(engine=engine)
    before, other = stand.policy, Policy.parse({"name": "another", "version": "1"})
    engine.gate.clear()
    async with Turns(stand) as turns:
        await turns.send(post(0))
        while not engine.scored:
            await asyncio.sleep(0)
        stand.policy = other
        engine.gate.set()
        while not stand.outlet.records:
            await asyncio.sleep(0)
        stand.policy = before
        (second,) = await turns.judge(post(1, hidden(SAFE, 13)))
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE


def test_engine_and_adapter_are_part_of_the_key() -> None:
    def key(**info: Any) -> Any:
        route = SimpleNamespace(info=SimpleNamespace(**({"digest": "d", "adapter": None} | info)))
        arrival: Any = SimpleNamespace(post=Post(id="p", text=SAFE), route=route, parts=None)
        return reuse._key(arrival, "policy")

    assert key() == key() is not None
    assert len({key().key, key(digest="e").key, key(adapter="a").key}) == 3


async def test_an_unsure_finding_stands_for_nobody_and_makes_nobody_wait_again() -> None:
    odd = FakeProfile(rules={})  # scores by a hash: seldom sure
    engine = ScriptedEngine(odd)
    stand = bench(
        engine=engine, profile=odd, tree={"cache": {"near_duplicates": {"enabled": True, "confidence": 1}}}
    )
    flood = [post(number, hidden(SAFE, number)) for number in range(20)]
    await stand.run(list(flood))
    assert {one.assessed_by for one in stand.outlet.verdicts} <= {AssessedBy.ENGINE, AssessedBy.CACHE}
    assert sum(engine.scored) >= 20
    assert stand.acknowledged == list(range(20))


async def test_a_finding_that_expired_is_asked_for_again() -> None:
    tree = {"cache": {"near_duplicates": {"enabled": True, "ttl_s": 0.000001}}}
    _, second = await in_turn(bench(profile=SURE, tree=tree), post(0), post(1, hidden(SAFE, 13)))
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE


async def test_where_the_first_fails_the_others_are_asked_for() -> None:
    engine = FakeEngine(SURE, faults=Faults(error=Fault(marker="nine tomorrow")))
    stand = bench(engine=engine)
    await stand.run([post(0), *[post(number, hidden(SAFE, 1 << 21 + number)) for number in range(1, 9)]])
    failed = [one for one in stand.outlet.verdicts if one.failure is not None]
    assert "p0" in {one.post_id for one in failed}
    assert {one.failure.code for one in failed if one.failure} == {FailureCode.ENGINE_ERROR}
    assert not [one for one in stand.outlet.verdicts if one.assessed_by is AssessedBy.NEAR_DUPLICATE]
    assert stand.acknowledged == list(range(9))


async def test_who_waits_for_another_waits_no_longer_than_its_tenant() -> None:
    engine = ScriptedEngine(SURE)
    engine.away = 10_000
    policy = {"name": "p", "version": "1", "rules": {"max_wait_seconds": 0.1}}
    stand = bench(engine=engine, policy=policy)
    await stand.run([post(0), post(1, hidden(SAFE, 13))])
    codes = [one.failure.code if one.failure else None for one in stand.outlet.verdicts]
    assert codes == [FailureCode.ENGINE_UNAVAILABLE] * 2


@pytest.mark.parametrize("dressed", [f"{SAFE}!!!!!!!!!", SAFE.replace("The", "The\u200b")])
async def test_a_text_whose_reduced_form_no_engine_read_stands_for_no_other(dressed: str) -> None:
    plain = dressed.replace("\u200b", "").replace("!!!!!!!!!", "!!!!!")
    _, second = await in_turn(bench(profile=SURE), post(0, dressed), post(1, plain))
    assert second.assessed_by is AssessedBy.ENGINE
    (first, second) = await in_turn(bench(profile=SURE), post(0, plain), post(1, dressed))
    assert second.reused_from == first.verdict_id


async def test_what_the_exact_cache_answers_is_learned_again() -> None:
    tree = {"cache": {"near_duplicates": {"enabled": True, "entries": 1}}}
    others = post(1, BAD), post(2), post(3, hidden(SAFE, 13))
    first, _, again, copy = await in_turn(bench(profile=SURE, tree=tree), post(0), *others)
    assert (again.assessed_by, copy.assessed_by) == (AssessedBy.CACHE, AssessedBy.NEAR_DUPLICATE)
    assert copy.reused_from == first.verdict_id


async def test_a_text_that_was_written_to_be_misread_stands_for_no_other() -> None:
    blind = FakeProfile(rules={"kill you": "unsafe", "when you come": "safe"})
    tree = ON | {"limits": {"folded_forms": False}}
    stand = bench(profile=blind, tree=tree)
    first, second = await in_turn(stand, post(0, BAD.replace("kill", "ki\u200bll")), post(1, BAD))
    assert (first.action, told(second)) == (Action.ALLOW, (AssessedBy.ENGINE, Action.BLOCK))


async def test_with_its_folded_form_judged_it_may() -> None:
    blind = FakeProfile(rules={"kill you": "unsafe", "when you come": "safe"})
    engine = ScriptedEngine(blind)
    stand = bench(engine=engine)
    texts = [BAD.replace("kill", form) for form in ("k\u200bill", "ki\u200bll", "kil\u200bl")]
    verdicts = await in_turn(stand, *[post(number, text) for number, text in enumerate(texts)])
    assert {one.action for one in verdicts} == {Action.BLOCK}
    assert [one.assessed_by for one in verdicts[1:]] == [AssessedBy.NEAR_DUPLICATE] * 2
    assert sum(engine.scored) == 2  # both forms of the first
    forms = [(one.form, one.form_rules) for one in verdicts]
    assert forms == [("folded", ("invisible",))] * 3
    assert stand.metric("folded_verdicts_total", rule="invisible") == 3


async def test_a_copy_without_a_folded_form_is_answered_in_its_own() -> None:
    blind = FakeProfile(rules={"kill you": "unsafe", "when you come": "safe"})
    engine = ScriptedEngine(blind)
    stand = bench(engine=engine, tree=ON | {"cache": {"entries": 0, "near_duplicates": {"enabled": True}}})
    first, second = await in_turn(stand, post(0, BAD.replace("kill", "ki\u200bll")), post(1, BAD))
    assert (first.form, second.form, second.form_rules) == ("folded", "original", ())
    assert told(second) == (AssessedBy.NEAR_DUPLICATE, Action.BLOCK)


async def test_a_reused_finding_is_not_passed_on() -> None:
    stand = bench(profile=SURE)
    verdicts = await in_turn(stand, *[post(number, hidden(SAFE, number)) for number in (0, 1, 2, 3)])
    assert {one.reused_from for one in verdicts[1:]} == {verdicts[0].verdict_id}


async def test_the_reused_finding_is_decided_anew_and_the_breaker_counts_it() -> None:
    breaker = {"share": None, "count": 2, "interval_seconds": 60.0}
    policy = {"name": "p", "version": "1", "rules": {"block_breaker": breaker}}
    stand = bench(profile=SURE, policy=policy)
    verdicts = await in_turn(stand, *[post(number, hidden(BAD, number)) for number in range(5)])
    assert [one.action for one in verdicts][:2] == [Action.BLOCK] * 2
    assert verdicts[-1].action is Action.REVIEW
    assert verdicts[-1].breaker is not None


async def test_a_fault_in_reducing_costs_no_post_its_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_text: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(reuse, "reduced_form", broken)
    first, second = await in_turn(bench(profile=SURE), post(0), post(1, hidden(SAFE, 13)))
    assert first.failure is second.failure is None
    assert second.assessed_by is not AssessedBy.NEAR_DUPLICATE


def test_a_post_whose_folded_form_has_a_passage_stands_for_no_other() -> None:
    """Its verdict may be of the passage, and another post's parts do not lie where this one's do."""
    part = Part(Prompt((1,), "post", 0, (0, 1)), 0, 1)
    folded = dataclasses.replace(part, folded=True)
    assert reuse._is_one_part(Parts((part, folded)))
    assert not reuse._is_one_part(None)
    assert not reuse._is_one_part(Parts((part, folded, folded)))
    assert not reuse._is_one_part(Parts((part, part)))
