"""Texts whose likeliest severity is safe, and whose category could change what follows: on the verdicts of a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.protocol import Explanation, ItemFailure, Scored
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, FailureCode, Scores
from unit.pipeline.fakes import Bench, singly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.schemas import Severity


class Guard(FakeEngine):
    """Finds every text safe at 0.65, and names no category once it was made to say so."""

    def __init__(self) -> None:
        super().__init__(FakeProfile())
        self.begun: list[Severity] = []
        self.failing: set[Severity] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
        await super().score(prompts, timeout_s=timeout_s)
        return [Scored(Scores(safe=0.65, controversial=0.05, unsafe=0.3), label_mass=1.0) for _ in prompts]

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
    ) -> list[Explanation | ItemFailure]:
        self.begun += severities
        await self.gate.wait()
        return [
            ItemFailure(FailureCode.TIMED_OUT)
            if severity in self.failing
            else Explanation(
                () if severity == "safe" else ("PII",), {"None" if severity == "safe" else "PII": 1.0}
            )
            for severity in severities
        ]


POLICY: dict[str, Any] = {
    "name": "n",
    "version": "1",
    "rules": {"explain_at": 0.2, "categories": {"PII": {"block_at": {"unsafe": 0.3}}}},
    "tenants": {
        # All bars alike: of which category a text is makes no difference.
        "calm": {"rules": {"categories": {"PII": {"block_at": {"unsafe": 0.8}}}}},
        "open": {"rules": {"failure_mode": "allow"}},
        "shut": {"rules": {"failure_mode": "block", "categories": {"PII": {"block_at": {"unsafe": 0.8}}}}},
    },
}


def post(name: str, tenant: str = "default", **fields: Any) -> dict[str, Any]:
    return {"id": name, "text": "one and the same text", "tenant": tenant, **fields}


async def test_a_bar_of_a_category_holds_where_safe_is_the_likeliest_severity() -> None:
    bench = Bench(engine=(engine := Guard()), policy=POLICY)
    await bench.run([post("p")])
    verdict = bench.outlet.verdict("p")
    assert (verdict.severity, verdict.explained_as, verdict.categories) == ("safe", "unsafe", ("PII",))
    assert (verdict.action, verdict.policy.rule) == (Action.BLOCK, "categories.PII.block_at.unsafe>=0.3")
    assert engine.begun == ["unsafe"]


async def test_where_no_category_matters_an_explanation_begins_with_the_severity() -> None:
    bench = Bench(engine=(engine := Guard()), policy=POLICY)
    await bench.run([post("p", "calm")])
    verdict = bench.outlet.verdict("p")
    assert (verdict.explained_as, verdict.categories, verdict.action) == ("safe", (), Action.ALLOW)
    assert engine.begun == ["safe"]


@pytest.mark.parametrize(
    ("tenants", "begun", "second"),
    [
        (("calm", "default"), ["safe", "unsafe"], Action.BLOCK),  # one that began with safe knows no category
        (("default", "calm"), ["unsafe"], Action.ALLOW),  # the other way round it serves both
    ],
)
async def test_a_cached_explanation_serves_whom_it_tells_what_they_ask_for(
    tenants: tuple[str, str], begun: list[str], second: Action
) -> None:
    bench = Bench(engine=(engine := Guard()), policy=POLICY)
    await bench.run([post("first", tenants[0])])
    other = Bench(engine=engine, policy=POLICY)
    other.share_cache(bench)
    await other.run([post("second", tenants[1])])
    verdict = other.outlet.verdict("second")
    assert (verdict.action, verdict.assessed_by) == (second, AssessedBy.CACHE)
    assert verdict.reused_from == bench.outlet.verdict("first").verdict_id
    assert engine.begun == begun
    # From now on there is one for everybody.
    third = Bench(engine=engine, policy=POLICY)
    third.share_cache(bench)
    await third.run([post("third"), post("fourth", "calm")])
    assert third.outlet.verdict("third").action is Action.BLOCK
    assert engine.begun == begun


async def test_posts_that_wait_for_one_judgement_are_explained_once_for_whoever_asks_most() -> None:
    bench = Bench(engine=(engine := Guard()), policy=POLICY)
    await bench.run([post("calm", "calm"), post("keen"), post("calm too", "calm")])
    assert bench.outlet.verdict("keen").action is Action.BLOCK
    assert bench.outlet.verdict("calm").action is Action.ALLOW
    assert engine.begun == ["unsafe"]


async def test_who_joins_an_explanation_that_begins_with_safe_gets_one_of_its_own() -> None:
    engine = Guard()
    engine.gate.clear()
    bench = Bench(engine=engine, policy=POLICY)

    async def source() -> Any:
        yield bench.delivery(post("calm", "calm"), 0)
        while not engine.begun:
            await asyncio.sleep(0)
        yield bench.delivery(post("keen"), 1)
        while not bench.metric("cache_hits_total", how="joined"):
            await asyncio.sleep(0)
        engine.gate.set()

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert engine.begun == ["safe", "unsafe"]
    assert bench.outlet.verdict("keen").action is Action.BLOCK
    assert bench.outlet.verdict("calm").action is Action.ALLOW


async def test_a_failed_explanation_is_no_allow_that_nobody_chose() -> None:
    engine = Guard()
    engine.failing = {"safe", "unsafe"}
    bench = Bench(engine=engine, policy=POLICY)
    await bench.run([post(name, name) for name in ("default", "calm", "open", "shut")])
    told = {
        name: (bench.outlet.verdict(name).action, bench.outlet.verdict(name).policy.rule)
        for name in ("default", "calm", "open", "shut")
    }
    bar = "categories.PII.block_at.unsafe>=0.3"
    assert told == {
        "default": (Action.BLOCK, bar),
        "calm": (Action.REVIEW, "failure_mode"),
        "open": (Action.BLOCK, bar),  # failing open makes no bar milder
        "shut": (Action.BLOCK, "failure_mode"),
    }
    for name in told:
        verdict = bench.outlet.verdict(name)
        assert (verdict.failure, verdict.explained_as) == (None, None)
        assert verdict.explanation_failure is FailureCode.TIMED_OUT
        assert verdict.severity == "safe"


async def test_an_explanation_that_fails_is_asked_for_again_by_the_next_copy() -> None:
    engine = Guard()
    engine.failing = {"unsafe"}
    bench = Bench(engine=engine, policy=POLICY)
    await bench.run([post("first")])
    engine.failing = set()
    other = Bench(engine=engine, policy=POLICY)
    other.share_cache(bench)
    await other.run([post("second")])
    assert other.outlet.verdict("second").explained_as == "unsafe"
    assert engine.begun == ["unsafe", "unsafe"]


async def test_a_block_by_failure_mode_is_neither_counted_nor_withheld_though_there_are_scores() -> None:
    engine = Guard()
    engine.failing = {"safe", "unsafe"}
    rules = {"failure_mode": "block", "explain_at": 0.2, "block_breaker": {"share": None, "count": 1}}
    bench = Bench(engine=engine, policy={"name": "n", "version": "1", "rules": rules})
    await bench.run([post(f"p{number}") for number in range(5)])
    verdicts = [bench.outlet.verdict(f"p{number}") for number in range(5)]
    assert {(one.action, one.policy.rule, one.breaker) for one in verdicts} == {
        (Action.BLOCK, "failure_mode", None)
    }


async def test_a_near_duplicate_stands_in_with_an_explanation_that_tells_categories() -> None:
    engine = Guard()
    near = {"cache": {"near_duplicates": {"enabled": True, "confidence": 0.6}}}
    policy = {**POLICY, "rules": {"explain_at": 0.2, "categories": {"PII": {"block_at": {"unsafe": 0.2}}}}}
    bench = Bench(engine=engine, policy=policy, tree=near)
    texts = {"a": "I will k\u200bill you when you come home", "b": "I will ki\u200bll you when you come home"}
    await bench.run([post(name, text=text, kind="prompt") for name, text in texts.items()])
    second = bench.outlet.verdict("b")
    assert (second.assessed_by, second.explained_as) == (AssessedBy.NEAR_DUPLICATE, "unsafe")
    assert second.action is Action.BLOCK
    assert engine.begun == ["unsafe", "unsafe"]  # the first one as it came, and folded


async def test_an_explanation_that_began_with_safe_is_missing_for_a_policy_that_wants_categories_since() -> (
    None
):
    class Halting(Guard):
        asked = 0

        def __init__(self) -> None:
            super().__init__()
            self.go = asyncio.Event()

        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            self.asked += 1
            if self.asked > 1:
                await self.go.wait()
            return await super().score(prompts, timeout_s=timeout_s)

    engine = Halting()
    before = {"name": "n", "version": "1", "rules": {"explain_at": 0.2}}
    bench = Bench(
        engine=engine,
        profile=FakeProfile(max_prompt_tokens=600),
        policy=before,
        tree={"micro_batch": {"posts": 1, "in_flight": 1}},
    )
    running = asyncio.create_task(bench.run([post("p", text="this is a sentence. " * 40)]))
    async with asyncio.timeout(20):
        while engine.asked < 2:
            await asyncio.sleep(0)
        assert engine.begun == ["safe"]  # the first part
        bench.policy = Policy.parse(POLICY)
        engine.go.set()
        await running
    verdict = bench.outlet.verdict("p")
    assert verdict.segments.count == 2
    assert engine.begun == ["safe", "unsafe"]  # nothing is asked again
    assert (verdict.action, verdict.segments.deciding) == (Action.BLOCK, 0)
    assert (verdict.explained_as, verdict.explanation_failure) == (None, FailureCode.INTERNAL)
