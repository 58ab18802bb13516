"""What a policy says, seen on the verdicts that a worker would publish."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.protocol import Explanation, ItemFailure, Scored
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, FailureCode, Scores
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence


class Certain(FakeEngine):
    """Finds every text controversial, and one category on all of them."""

    def __init__(self) -> None:
        super().__init__(FakeProfile(rules={"x": "controversial"}))
        self.fails = False
        self.explained = 0

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
    ) -> list[Explanation | ItemFailure]:
        self.explained += len(prompts)
        answer = Explanation(("PII",), {"PII": 0.7, "Violent": 0.3})
        return [ItemFailure(FailureCode.TIMED_OUT) if self.fails else answer for _ in prompts]


POLICY: dict[str, Any] = {
    "name": "n",
    "version": "1",
    "rules": {
        "preset": "loose",
        "explain_at": 1.0,
        "review_at": {"risk": 0.999},
        "categories": {
            "PII": {"block_at": {"risk": 0.9}, "dispositions": {"block": {"name": "hide", "for_days": 3}}}
        },
    },
    "tenants": {
        "calm": {"rules": {"categories": {"PII": {"block_at": {"risk": None}}}}},
        "brief": {"rules": {"max_tokens": 20, "max_segments": 1, "failure_mode": "block"}},
    },
}


async def test_a_category_rule_gets_its_explanation_and_decides_with_its_parameters() -> None:
    bench = Bench(engine=Certain(), policy=POLICY)
    await bench.run([{"id": "p", "text": "x"}])
    verdict = bench.outlet.verdict("p")
    assert verdict.action is Action.BLOCK
    assert verdict.policy.rule == "categories.PII.block_at.risk>=0.9"
    assert (verdict.disposition, verdict.disposition_parameters) == ("hide", {"for_days": 3})
    assert verdict.categories == ("PII",)


async def test_without_a_category_rule_that_could_fire_nothing_is_explained() -> None:
    engine = Certain()
    bench = Bench(engine=engine, policy=POLICY)
    await bench.run([{"id": "p", "text": "x", "tenant": "calm"}])
    assert bench.outlet.verdict("p").action is Action.ALLOW
    assert engine.explained == 0


async def test_if_the_explanation_fails_the_severest_of_all_bars_decides() -> None:
    engine = Certain()
    engine.fails = True
    bench = Bench(engine=engine, policy=POLICY)
    await bench.run([{"id": "p", "text": "x"}])
    verdict = bench.outlet.verdict("p")
    assert (verdict.action, verdict.policy.rule) == (Action.BLOCK, "categories.PII.block_at.risk>=0.9")
    assert (verdict.failure, verdict.explained_as) == (None, None)
    assert verdict.explanation_failure is FailureCode.TIMED_OUT
    assert verdict.scores is not None


async def test_a_tenants_own_length_limit_counts_where_it_is_smaller() -> None:
    bench = Bench(engine=Certain(), policy=POLICY)
    long = "x " * 40
    answer = {"id": "answer", "text": "x", "kind": "response", "context": long, "tenant": "brief"}
    await bench.run([{"id": "here", "text": long, "tenant": "brief"}, {"id": "there", "text": long}, answer])
    here, there = bench.outlet.verdict("here"), bench.outlet.verdict("there")
    assert here.failure is not None
    assert (here.failure.code, here.action) == (FailureCode.TOO_LONG, Action.BLOCK)
    assert there.failure is None
    assert bench.outlet.verdict("answer").failure is None  # what it answers does not count
    wide = {**POLICY, "rules": {**POLICY["rules"], "max_tokens": 10**9}}
    bench = Bench(engine=Certain(), policy=wide, tree={"limits": {"post_tokens": 20}})
    await bench.run([{"id": "p", "text": long}])
    assert bench.outlet.verdict("p").failure is not None  # the worker's own limit still holds


async def test_a_policy_that_changes_between_two_posts_needs_no_text_judged_again() -> None:
    engine = Certain()
    bench = Bench(engine=engine, policy=POLICY)
    await bench.run([{"id": "first", "text": "x"}])
    first = bench.outlet.verdict("first")
    other = Bench(engine=engine, policy={**POLICY, "version": "2", "rules": {"preset": "strict"}})
    other.share_cache(bench)
    await other.run([{"id": "second", "text": "x"}])
    second = other.outlet.verdict("second")
    assert second.scores == first.scores
    assert second.reused_from == first.verdict_id
    assert second.policy.digest == other.policy.digest != Policy.parse(POLICY).digest
    assert engine.explained == 1


class Brief(Certain):
    """Writes a second category where a text is asked for, and tells the first one alone elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[bool] = []

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
    ) -> list[Explanation | ItemFailure]:
        self.texts += texts
        shares = {"Violent": 0.7, "PII": 0.3}
        return [
            Explanation(("Violent", "PII"), shares)
            if text
            else Explanation(("Violent",), shares, by="category")
            for text in texts
        ]


CALM = {"explain_at": 0.3, "categories": {"PII": {"block_at": {"risk": None}}}}
TWO = {**POLICY, "tenants": {"calm": {"rules": CALM}}}


async def test_the_likeliest_category_is_read_where_no_second_one_matters_and_a_text_elsewhere() -> None:
    engine = Brief()
    bench = Bench(engine=engine, policy=TWO)
    await bench.run([{"id": "first", "text": "x", "tenant": "calm"}])
    first = bench.outlet.verdict("first")
    assert (engine.texts, first.categories, first.explained_by) == ([False], ("Violent",), "category")
    assert first.action is Action.ALLOW
    other = Bench(engine=engine, policy=TWO)
    other.share_cache(bench)
    await other.run([{"id": "again", "text": "x", "tenant": "calm"}])
    assert engine.texts == [False]  # what is known will do
    third = Bench(engine=engine, policy=TWO)
    third.share_cache(other)
    await third.run([{"id": "second", "text": "x"}])
    second = third.outlet.verdict("second")  # for this tenant a second category could change what follows
    assert (engine.texts, second.categories, second.explained_by) == (
        [False, True],
        ("Violent", "PII"),
        "text",
    )
    assert (second.action, second.policy.rule) == (Action.BLOCK, "categories.PII.block_at.risk>=0.9")
    assert second.scores == first.scores


async def test_a_category_that_no_text_could_change_decides_under_a_policy_that_wants_texts_meanwhile() -> (
    None
):
    always = {**TWO, "rules": {**TWO["rules"], "explain_text": "always", "failure_mode": "block"}}

    class Changing(Brief):
        async def explain(self, *asked: Any, **wanted: Any) -> list[Explanation | ItemFailure]:
            found = await super().explain(*asked, **wanted)
            bench.policy = Policy.parse(always)
            return found

    bench = Bench(engine=Changing(), policy=TWO)
    await bench.run([{"id": "p", "text": "x", "tenant": "calm"}])
    verdict = bench.outlet.verdict("p")
    assert verdict.policy.digest == bench.policy.digest
    assert (verdict.action, verdict.explanation_failure, verdict.explained_by) == (
        Action.ALLOW,
        None,
        "category",
    )


async def test_one_text_serves_everybody_who_waits_for_the_same_prompt() -> None:
    engine = Brief()
    bench = Bench(engine=engine, policy=TWO)
    await bench.run([{"id": "calm", "text": "x", "tenant": "calm"}, {"id": "strict", "text": "x"}])
    assert engine.texts == [True]
    found = {name: bench.outlet.verdict(name) for name in ("calm", "strict")}
    assert [one.explained_by for one in found.values()] == ["text", "text"]
    assert [one.action for one in found.values()] == [Action.ALLOW, Action.BLOCK]


class Halting(Certain):
    """Scores one prompt, and the others once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.gate = asyncio.Event()

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Any]:
        self.asked += 1
        if self.asked > 1:
            await self.gate.wait()
        return await super().score(prompts, timeout_s=timeout_s)


BEFORE = {**POLICY, "rules": {**POLICY["rules"], "categories": {}}}
"""Asks for no categories."""


async def changed_within_a_post(
    engine: Halting, sentences: int, *, halts: bool = False, cached: bool = True, **rules: Any
) -> Bench:
    """One part of the post is found under one policy, the others under another, or not at all while the engine halts."""
    bench = Bench(
        engine=engine,
        profile=FakeProfile(max_prompt_tokens=600, rules={"x": "controversial"}),
        policy=BEFORE,
        tree={"micro_batch": {"posts": 1, "in_flight": 1}, "cache": {"entries": 1000 if cached else 0}},
    )
    running = asyncio.create_task(bench.run([{"id": "p", "text": "x is a sentence. " * sentences}]))
    async with asyncio.timeout(20):
        while engine.asked < 2:
            await asyncio.sleep(0)
        bench.policy = Policy.parse({**POLICY, "tenants": {"default": {"rules": rules}}})
        if not halts:
            engine.gate.set()
        while not bench.outlet.records:
            await asyncio.sleep(0.01)
    engine.gate.set()
    await running
    return bench


async def test_what_a_policy_asks_for_that_changes_within_a_post_is_missing_where_nobody_asked_for_it() -> (
    None
):
    engine = Halting()
    bench = await changed_within_a_post(engine, 45)
    verdict = bench.outlet.verdict("p")
    assert verdict.segments.count == 2  # with the last one, all is found
    assert verdict.policy.digest == bench.policy.digest
    assert (verdict.assessed_by, verdict.reused_from) == (AssessedBy.ENGINE, None)
    # Nothing is asked again: the severest of all bars decides about the part that was found before.
    assert (engine.asked, engine.explained) == (2, 1)
    assert (verdict.action, verdict.segments.deciding) == (Action.BLOCK, 0)
    assert (verdict.failure, verdict.explanation_failure) == (None, FailureCode.INTERNAL)
    assert verdict.policy.rule == "categories.PII.block_at.risk>=0.9"
    assert bench.metric("explanation_failures_total", code="internal") == 1


OPEN: dict[str, Any] = {"failure_mode": "allow", "review_at": {"risk": 0.5}}


async def test_a_policy_that_changes_within_a_post_that_is_given_up_says_what_is_missing() -> None:
    bench = await changed_within_a_post(Halting(), 80, halts=True, max_wait_seconds=0.1, **OPEN)
    verdict = bench.outlet.verdict("p")
    assert verdict.policy.digest == bench.policy.digest
    # What was found decides; of which category it is, nobody knows.
    assert (verdict.action, verdict.failure) == (Action.BLOCK, None)
    assert verdict.explanation_failure == FailureCode.OVERLOAD


async def test_a_part_whose_explanation_is_missing_keeps_its_scores_and_decides_by_them() -> None:
    class Reassured(Halting):
        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Any]:
            found = await super().score(prompts, timeout_s=timeout_s)
            if self.asked == 1:
                return found
            return [Scored(Scores(safe=0.98, controversial=0.01, unsafe=0.01), 1.0) for _ in prompts]

    engine = Reassured()
    bench = await changed_within_a_post(engine, 45, cached=False, **OPEN)
    verdict = bench.outlet.verdict("p")
    assert engine.asked == 2
    assert (verdict.action, verdict.failure, verdict.segments.deciding) == (Action.BLOCK, None, 0)
    assert verdict.explanation_failure == FailureCode.INTERNAL
