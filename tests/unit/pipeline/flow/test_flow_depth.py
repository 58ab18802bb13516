"""How much the flow has in its engine at once, and what does not wait for what."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.protocol import Scored
from sluicegate.pipeline.observe.instruments import Instruments
from unit.pipeline.fakes import Bench, HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
    from sluicegate.schemas import Severity
    from unit.pipeline.fakes import MemoryDelivery

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
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        await self.may_explain.wait()
        return await super().explain(prompts, severities, timeout_s=timeout_s, texts=texts)


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


@pytest.mark.parametrize(("most", "limit"), [(None, 4), (8, 4), (4, 4), (2, 2)])
async def test_no_more_is_kept_in_flight_than_may_be_sent(most: int | None, limit: int) -> None:
    engine = FakeEngine(PROFILE)
    engine.info = replace(engine.info, most_prompts=most)
    assert Bench(engine=engine, profile=PROFILE).metric("engine_prompts_limit") == limit


@pytest.mark.parametrize(
    ("tokens_per_s", "in_work", "free", "tokens"),
    [
        (800, 0, 1, 12_000),  # half of the 30 seconds that a call may take
        (800, 11_000, 1, 1000),
        (800, 12_000, 0, None),
        (1, 0, 1, 8192),  # half of a micro-batch at least
        (1, 8192, 0, None),
        (2000, 0, 1, 16_384),  # fast enough for one that is full
        (1_000_000, 1500, 3, 16_384),
    ],
)
async def test_a_slow_engine_gets_no_more_text_than_it_reads_in_time(
    tokens_per_s: int, in_work: int, free: int, tokens: int | None
) -> None:
    bench = Bench(profile=PROFILE)
    routes = bench.flow._routes
    for now in (1.0, 2.0):
        routes.depth.answered(now, 4, 1.0, alone=True, tokens=tokens_per_s)
    (route,) = routes
    route.tokens_in_work = in_work
    (share,) = routes.shares()
    assert share.free == free
    if tokens is not None:
        assert share.limits.tokens == tokens


async def test_the_tokens_in_work_are_those_that_were_sent_and_not_answered() -> None:
    engine = Watched()
    bench = Bench(engine=engine, profile=PROFILE)
    (route,) = bench.flow._routes
    engine.may_explain.clear()
    running = asyncio.create_task(bench.run([{"id": "slow", "text": "attack"}, *posts(4)]))
    async with asyncio.timeout(10):
        while len(bench.outlet.records) < 4:
            await asyncio.sleep(0)
        assert route.in_work == 1
        assert route.tokens_in_work > 0
        engine.may_explain.set()
        await running
    assert (route.in_work, route.tokens_in_work, route.in_flight) == (0, 0, 0)


@pytest.mark.parametrize(
    ("in_work", "free", "tokens"), [(0, 1, 16_384), (100, 1, 16_284), (16_384, 0, None), (20_000, 0, None)]
)
async def test_an_engine_that_has_not_answered_yet_gets_the_text_of_one_micro_batch(
    in_work: int, free: int, tokens: int | None
) -> None:
    bench = Bench(profile=PROFILE, tree={"micro_batch": {"posts": 1}})
    (route,) = bench.flow._routes
    route.tokens_in_work = in_work
    (share,) = bench.flow._routes.shares()
    assert share.free == free
    if tokens is not None:
        assert share.limits.tokens == tokens


async def test_what_the_cache_of_prefixes_served_was_not_read() -> None:
    class Caching(FakeEngine):
        async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
            await asyncio.sleep(0.02)
            scored = await super().score(prompts, timeout_s=timeout_s)
            return [replace(one, cached_tokens=10_000) for one in scored if isinstance(one, Scored)]

    bench = Bench(engine=Caching(PROFILE), profile=PROFILE)
    await bench.run(posts(4))
    within = bench.flow._routes.depth.tokens_within(1)
    assert within is not None
    assert within <= 4 / 0.02


class StandingClock(HandClock):
    """Short sleeps last until they are let go on."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0.1:  # deadlines are not this test's
            await super().sleep(seconds)
            return
        self.asleep.set()
        await self.go_on.wait()


async def test_what_comes_alone_is_asked_at_once_and_what_follows_it_closely_goes_together() -> None:
    engine, clock = Watched(), StandingClock()
    bench = Bench(engine=engine, profile=PROFILE)
    bench.instruments = Instruments.for_engine(PROFILE.saturating_prompts, clock)
    bench.flow = bench.open_flow()

    async def source() -> AsyncIterator[list[MemoryDelivery]]:
        for offset, post in enumerate(posts(4)):
            yield [bench.delivery(post, offset)]
            if offset == 0:
                while not bench.outlet.records:
                    await asyncio.sleep(0)
            elif offset == 1:
                await clock.asleep.wait()
        clock.go_on.set()

    async with asyncio.timeout(10):
        await bench.flow.run(source())
    assert len(bench.outlet.verdicts) == 4
    assert bench.metric("micro_batch_posts_count") == 2
    assert engine.most_prompts == 3
