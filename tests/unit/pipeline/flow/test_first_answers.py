"""First answers: an engine is ready once it scored a prompt of the worker's own, and a worker joins when it can answer."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends import Backend
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure, Scored
from sluicegate.pipeline.flow.first_answers import FirstAnswers
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import FailureCode
from unit.pipeline.fakes import Bench, HandClock
from unit.pipeline.scripted import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.engines.protocol import Health, Prompt

NAMELESS: dict[str, Any] = {"name": "plain", "version": "1"}
IMPATIENT = NAMELESS | {"tenants": {"hasty": {"rules": {"max_wait_seconds": 2}}}}


class Answering(ScriptedEngine):
    """Gives each answer of a list in turn, and then scores."""

    def __init__(self, *answers: object) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[float] = []
        self.healths = 0

    async def health(self) -> Health:
        self.healths += 1
        return await super().health()

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.asked.append(timeout_s)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, list):
            return answer
        scored = await super().score(prompts, timeout_s=timeout_s)
        if isinstance(answer, ItemFailure):
            return [answer]
        return [answer(one) for one in scored] if callable(answer) else scored


class Away(Answering):
    """Is never there."""

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.answers = [EngineUnavailable("nobody listens")]
        return await super().score(prompts, timeout_s=timeout_s)


class QuickClock(HandClock):
    """Its time goes on when somebody waits, and no real time with it."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.001)

    async def wait(self, event: asyncio.Event, *, until: float | None) -> None:
        assert until is not None
        self.now = until
        await asyncio.sleep(0.001)


class Case:
    """First answers of scripted engines, by adapter."""

    def __init__(
        self,
        policy: dict[str, Any] = NAMELESS,
        *,
        server: str | None = None,
        guard: str | None = None,
        **engines: Answering,
    ) -> None:
        own = engines.pop("own", None) or Answering()
        self.bench = Bench(engine=own)
        self.clock = QuickClock()
        backends: dict[str | None, Backend] = {None: replace(self.bench.backend, server=server)}
        backends |= {name: replace(self.bench.backend, engine=engine) for name, engine in engines.items()}
        self.instruments = replace(self.bench.instruments, clock=self.clock)
        self.first = FirstAnswers(
            backends,
            self.bench.settings.engine,
            lambda: Policy.parse(policy),
            self.instruments,
            guard=guard,
        )
        self.stop = asyncio.Event()

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.timeout(30), self.first:
            task = asyncio.create_task(self.first.wait(self.stop))
            yield task
            self.stop.set()
            await task

    async def told(self) -> dict[str, str]:
        """What is missing once each has been asked."""
        while any("not answered yet" in why for why in self.first.missing.values()):
            await asyncio.sleep(0.001)
        return dict(self.first.missing)


async def test_nothing_is_ready_before_it_was_asked_and_all_is_once_it_scored() -> None:
    engine = Answering()
    case = Case(own=engine)
    assert list(case.first.missing) == ["engine"]
    async with case.waiting() as task:
        await task
        assert case.first.missing == {}
        await asyncio.sleep(0.01)
    assert engine.asked == [case.bench.settings.engine.score_timeout_s]


def _spread_thin(scored: Scored) -> Scored:
    return replace(scored, label_mass=0.4)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (EngineUnavailable("nobody listens: check url"), "nobody listens: check url"),
        (ItemFailure(FailureCode.ENGINE_ERROR, "HTTP 302"), r"not with scores.*check url.*HTTP 302"),
        (ItemFailure(FailureCode.TIMED_OUT, "late"), "no answer within score_timeout_s"),
        (ItemFailure(FailureCode.LABELS_MISSING, "none"), "it must serve the model of the bundle"),
        (_spread_thin, "it must serve the model of the bundle"),
        ([], "its server answers, but not with scores"),
        (ValueError("quotes a text"), r"a fault in the engine's client \(ValueError\)$"),
    ],
)
async def test_what_is_no_score_keeps_it_unready_and_says_why_and_the_next_score_ends_that(
    answer: object, says: str
) -> None:
    case = Case(own=Answering(*[answer] * 4))
    async with case.waiting() as task:
        told = await case.told()
        assert not task.done()
        await task
        assert case.first.missing == {}
    assert list(told) == ["engine"]
    assert re.search(says, told["engine"]), told


async def test_it_asks_ever_more_rarely_but_never_ceases() -> None:
    case = Case(own=Answering(*[EngineUnavailable("away")] * 9))
    async with case.waiting() as task:
        await task
    assert case.clock.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("server", [None, "http://127.0.0.1:9"])
async def test_an_engine_of_its_own_is_asked_for_its_health_after_each_failure_so_that_it_heals_itself(
    server: str | None,
) -> None:
    engine = Answering(*[ItemFailure(FailureCode.TIMED_OUT, "late")] * 3)
    case = Case(own=engine, server=server)
    async with case.waiting() as task:
        await task
    assert engine.healths == (3 if server is None else 0)


async def test_a_wait_is_a_hold_with_its_reason_and_ends_with_it() -> None:
    case = Case(own=Away())
    async with case.waiting():
        await case.told()
        while not (holds := case.instruments.holds.current):
            await asyncio.sleep(0.001)
        assert holds["engine"].reason == "the worker does not join its group yet: engine: nobody listens"
    assert not case.instruments.holds


async def test_a_worker_that_is_told_to_stop_waits_no_longer() -> None:
    case = Case(own=Away())
    async with case.waiting() as task:
        await case.told()
        case.stop.set()
        await task
        assert list(case.first.missing) == ["engine"]


async def test_with_no_post_that_may_not_wait_it_waits_without_end() -> None:
    case = Case(own=Away())
    begun = case.clock.now
    async with case.waiting() as task:
        while case.clock.now < begun + 200:
            await asyncio.sleep(0.001)
        assert not task.done()


async def test_where_a_post_waits_two_seconds_only_a_worker_joins_without_its_engine() -> None:
    case = Case(IMPATIENT, own=Away())
    begun = case.clock.now
    async with case.waiting() as task:
        await task
        assert begun + 2 <= case.clock.now < begun + 3
        assert list(case.first.missing) == ["engine"]


async def test_one_adapter_that_is_missing_keeps_the_others_posts_waiting_for_its_own_wait_only() -> None:
    case = Case(teens=Away())
    begun, wait_s = case.clock.now, case.bench.settings.engine.adapter_wait_s
    async with case.waiting() as task:
        await task
        assert begun + wait_s <= case.clock.now < begun + wait_s + 1
        assert case.first.missing == {"engine.adapters.teens": "nobody listens"}
        assert not case.instruments.holds


async def test_an_engine_that_answered_is_not_asked_again_for_another_that_is_missing() -> None:
    own = Answering()
    case = Case(own=own, teens=Away())
    async with case.waiting():
        while len(case.clock.slept) < 5:
            await asyncio.sleep(0.001)
    assert len(own.asked) == 1


async def test_the_own_prompt_is_in_no_count_and_no_cache() -> None:
    case = Case()
    async with case.waiting() as task:
        await task
    metrics = case.instruments.metrics.registry
    for name in ("prompt_tokens_total", "posts_total", "cache_entries"):
        assert not metrics.get_sample_value(f"sluicegate_{name}")
    assert case.instruments.busy.in_work == 0
    assert len(case.bench.flow.cache) == 0


async def test_a_prompt_that_fits_no_engine_is_told() -> None:
    case = Case()
    too_long = ItemFailure(FailureCode.TOO_LONG, "9 tokens; the limit is 8")

    class Narrow:
        def build(self, _post: object) -> ItemFailure:
            return too_long

    narrow: Any = Narrow()
    backends: dict[str | None, Backend] = {None: replace(case.bench.backend, prompter=narrow)}
    policy = Policy.parse(NAMELESS)
    case.first = FirstAnswers(backends, case.bench.settings.engine, lambda: policy, case.instruments)
    async with case.waiting():
        assert "9 tokens; the limit is 8" in (await case.told())["engine"]


async def test_a_worker_without_an_engine_has_nothing_to_wait_for() -> None:
    bench = Bench()
    first = FirstAnswers({}, bench.settings.engine, lambda: bench.policy, bench.instruments)
    async with asyncio.timeout(30), first:
        await first.wait(asyncio.Event())
        assert first.missing == {}


async def test_a_small_guard_that_is_away_keeps_no_worker_from_its_group() -> None:
    small = Away()
    case = Case(guard="small", small=small)
    began = case.clock.now
    async with case.waiting() as task:
        await task
        assert case.first.missing == {}
    assert case.clock.now - began < case.bench.settings.engine.adapter_wait_s


async def test_a_small_guard_that_answers_stands_in_for_no_engine() -> None:
    case = Case(own=Away(), guard="small", small=Answering())
    enough = case.clock.now + 1.1 * case.bench.settings.engine.adapter_wait_s
    async with case.waiting() as task:
        assert await case.told() == {"engine": "nobody listens"}
        while case.clock.now < enough:
            await asyncio.sleep(0.001)
        assert not task.done()


async def test_a_small_guard_that_the_policy_names_for_posts_is_waited_for_like_any() -> None:
    policy = NAMELESS | {"tenants": {"teens": {"rules": {"adapter": "small"}}}}
    case = Case(policy, guard="small", small=Away())
    async with case.waiting():
        assert await case.told() == {"engine.adapters.small": "nobody listens"}
