"""How much the flow has in its engine at once, and what does not wait for what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
    from sluicegate.schemas import Severity

PROFILE = FakeProfile(saturating_prompts=4, rules={"attack": "unsafe", "calm": "safe"})


class Watched(FakeEngine):
    """Notes how many prompts and calls it has at once; explains when it is told to."""

    def __init__(self) -> None:
        super().__init__(PROFILE)
        self.calls = self.most_calls = self.prompts = self.most_prompts = 0
        self.may_explain = asyncio.Event()
        self.may_explain.set()

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.calls += 1
        self.prompts += len(prompts)
        self.most_calls, self.most_prompts = (
            max(self.most_calls, self.calls),
            max(self.most_prompts, self.prompts),
        )
        for _ in range(5):
            await asyncio.sleep(0)
        self.calls -= 1
        self.prompts -= len(prompts)
        return await super().score(prompts, timeout_s=timeout_s)

    async def explain(
        self, prompts: Sequence[Prompt], severities: Sequence[Severity], *, timeout_s: float
    ) -> list[Explanation | ItemFailure]:
        await self.may_explain.wait()
        return await super().explain(prompts, severities, timeout_s=timeout_s)


def posts(count: int, word: str = "calm") -> list[bytes | dict[str, object] | None]:
    return [{"id": f"p{number}", "text": f"{word} {number}"} for number in range(count)]


async def test_a_post_without_an_explanation_does_not_wait_for_that_of_its_neighbour() -> None:
    engine = Watched()
    engine.may_explain.clear()
    bench = Bench(engine=engine, profile=PROFILE)
    running = asyncio.create_task(
        bench.run([{"id": "slow", "text": "attack"}, {"id": "quick", "text": "calm"}])
    )
    async with asyncio.timeout(10):
        while not bench.outlet.records:
            await asyncio.sleep(0)
        assert [verdict.post_id for verdict in bench.outlet.verdicts] == ["quick"]
        engine.may_explain.set()
        await running
    assert {verdict.post_id for verdict in bench.outlet.verdicts} == {"quick", "slow"}


async def test_explanations_leave_room_for_the_scores_of_others() -> None:
    engine = Watched()
    engine.may_explain.clear()
    bench = Bench(engine=engine, profile=PROFILE)
    running = asyncio.create_task(bench.run([{"id": "slow", "text": "attack"}, *posts(40)]))
    async with asyncio.timeout(10):
        while len(bench.outlet.records) < 40:
            await asyncio.sleep(0)
        engine.may_explain.set()
        await running


async def test_the_engine_gets_what_saturates_it_at_once_and_little_more() -> None:
    engine = Watched()
    await Bench(engine=engine, profile=PROFILE, tree={"window": {"posts": 64}}).run(posts(200))
    assert engine.most_prompts >= PROFILE.saturating_prompts
    assert engine.most_prompts < 64


async def test_a_number_of_micro_batches_in_the_settings_is_kept() -> None:
    engine = Watched()
    tree = {"micro_batch": {"posts": 1, "in_flight": 2}}
    bench = Bench(engine=engine, profile=PROFILE, tree=tree)
    await bench.run(posts(30))
    assert engine.most_calls <= 2
    assert len(bench.outlet.verdicts) == 30


async def test_the_limit_is_shown() -> None:
    bench = Bench(profile=PROFILE)
    assert bench.metric("engine_prompts_limit") == PROFILE.saturating_prompts
