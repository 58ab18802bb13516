"""The engine's circuit breaker in the flow: what an engine that hangs, fails on everything or is slow may cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Health, ItemFailure, Scored
from sluicegate.pipeline.facts import Fact, Lease
from sluicegate.pipeline.flow.servers import prompt_name
from sluicegate.schemas import FailureCode, Post
from unit.pipeline.fakes import Bench, MemoryDelivery
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.pipeline.flow.judge import Judge

ONE_BY_ONE = {"posts": 1, "in_flight": 1}


def settings(**engine: Any) -> dict[str, Any]:
    quick = {"score_timeout_s": 0.05, "circuit_mute_calls": 3, "circuit_pause_s": 0.05}
    return {"engine": quick | engine, "micro_batch": ONE_BY_ONE}


def codes(bench: Bench) -> list[str]:
    return [str(verdict.failure.code) for verdict in bench.outlet.verdicts if verdict.failure]


def judge_of(bench: Bench) -> Judge:
    (route,) = bench.flow._routes
    return route.judge


def asking(bench: Bench) -> bool:
    return judge_of(bench).adapter_state._asking


@pytest.mark.parametrize("fault", ["hang", "error"])
async def test_an_engine_that_answers_nothing_fails_a_few_posts_and_holds_the_others_until_it_is_well(
    fault: str,
) -> None:
    class Sick(FakeEngine):
        async def health(self) -> Health:
            return Health(ok=getattr(self.faults, fault) is None)

    engine = Sick(RULES, faults=Faults(**{fault: Fault()}))
    bench = Bench(engine=engine, tree=settings())
    running = asyncio.create_task(bench.run([post(number) for number in range(20)]))
    async with asyncio.timeout(10):
        while not bench.instruments.holds:
            await asyncio.sleep(0.01)
    assert bench.metric("engine_circuit", state="open") == 1
    assert bench.metric("engine_circuit", state="closed") == 0
    await asyncio.sleep(0.5)
    assert len(bench.outlet.verdicts) == 3
    setattr(engine.faults, fault, None)
    await running
    code = FailureCode.TIMED_OUT if fault == "hang" else FailureCode.ENGINE_ERROR
    assert codes(bench) == [code] * 3
    assert bench.acknowledged == list(range(20))
    assert bench.metric("engine_circuit", state="closed") == 1
    assert bench.metric("engine_circuit_changes_total", state="open") == 1
    assert not bench.instruments.holds


async def test_a_flood_of_posts_that_the_engine_fails_on_never_stops_the_stream_and_its_neighbours_are_judged() -> (
    None
):
    engine = FakeEngine(RULES, faults=Faults(error=Fault(marker="poison")))
    bench = Bench(engine=engine, tree=settings(circuit_mute_calls=2))
    flood = [post(number, "poison") for number in range(6)]
    await bench.run([*flood, post(6), post(7)])
    assert codes(bench) == [FailureCode.ENGINE_ERROR] * 6
    assert bench.outlet.verdict("p7").failure is None
    assert bench.acknowledged == list(range(8))
    # Each poisonous post after the opening was a trial of its own.
    assert bench.metric("engine_circuit_changes_total", state="half_open") == 5
    assert bench.metric("engine_circuit_changes_total", state="closed") == 1


async def test_while_the_engine_is_ill_one_asks_for_its_health_though_many_wait() -> None:
    class Ill(ScriptedEngine):
        asked = most = now = 0

        async def health(self) -> Health:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.05)
            self.now -= 1
            self.asked += 1
            return Health(ok=self.asked >= 3)

    engine = Ill()
    engine.away = 1
    tree = settings() | {"micro_batch": {"posts": 1, "in_flight": 4}}
    bench = Bench(engine=engine, tree=tree)
    await bench.run([post(number) for number in range(8)])
    assert engine.asked == 3
    assert engine.most == 1
    assert codes(bench) == []


async def test_on_trial_one_micro_batch_is_sent_and_the_others_wait() -> None:
    class Counted(ScriptedEngine):
        most = now = 0

        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            if self.away:
                return await super().score(prompts, timeout_s=timeout_s)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await super().score(prompts, timeout_s=timeout_s)
            finally:
                self.now -= 1

    engine = Counted()
    engine.away = 1
    engine.gate.clear()
    tree = settings(score_timeout_s=5) | {"micro_batch": {"posts": 1, "in_flight": 4}}
    bench = Bench(engine=engine, tree=tree)
    running = asyncio.create_task(bench.run([post(number) for number in range(4)]))
    async with asyncio.timeout(10):
        while not engine.scored:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert engine.most == 1
    assert bench.metric("engine_circuit", state="half_open") == 1
    assert bench.instruments.holds
    engine.gate.set()
    await running
    assert codes(bench) == []
    assert bench.acknowledged == [0, 1, 2, 3]


async def test_a_stop_during_the_question_for_health_leaves_the_question_to_the_next() -> None:
    class Pondering(ScriptedEngine):
        async def health(self) -> Health:
            await asyncio.sleep(3600)
            return Health(ok=True)

    engine = Pondering()
    engine.away = 1
    bench = Bench(engine=engine, tree=settings())
    running = asyncio.create_task(bench.run([post(0)]))
    async with asyncio.timeout(10):
        while not asking(bench):
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not asking(bench)
    assert not bench.instruments.holds


async def test_the_log_names_each_state_and_why_and_no_post() -> None:
    engine = ScriptedEngine()
    engine.away = 1
    bench = Bench(engine=engine, tree=settings())
    with structlog.testing.capture_logs() as lines:
        await bench.run([post(0, "[good] a secret")])
    states = [(line["state"], line.get("reason")) for line in lines if line["event"] == "engine_circuit"]
    assert states == [("open", "nobody answers"), ("half_open", "nobody answers"), ("closed", None)]
    assert "secret" not in str(lines)


async def test_a_text_that_killed_the_engine_is_not_sent_again_soon() -> None:
    engine = ScriptedEngine()
    engine.killer = "poison"
    bench = Bench(engine=engine, tree={"engine": {"circuit_pause_s": 0.05}})
    await bench.run([{"id": "first", "text": "poison"}])
    killed = len(engine.killed)
    assert killed
    again = Bench(engine=engine)
    judge_of(again)._state.prompts = judge_of(bench)._state.prompts
    await again.run([{"id": "copy", "text": "poison"}, post(1)])
    assert len(engine.killed) == killed
    failure = again.outlet.verdict("copy").failure
    assert failure is not None
    assert failure.code is FailureCode.ENGINE_CRASH
    assert again.outlet.verdict("p1").failure is None


async def test_posts_that_waited_too_long_for_their_turn_are_answered_and_what_is_in_hand_is_judged() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    policy = {"name": "p", "version": "1", "tenants": {"hasty": {"rules": {"max_wait_seconds": 0.3}}}}
    bench = Bench(engine=engine, policy=policy, tree={"micro_batch": ONE_BY_ONE})
    hasty = [post(number, tenant="hasty") for number in range(3)]
    running = asyncio.create_task(bench.run([*hasty, post(3)]))
    async with asyncio.timeout(10):
        while len(bench.outlet.verdicts) < 2:
            await asyncio.sleep(0.01)
    assert codes(bench) == [FailureCode.OVERLOAD] * 2
    assert bench.flow.work.waiting == 1  # nothing is kept of what was answered
    assert bench.flow.work.prompts == 2
    engine.gate.set()
    await running
    assert bench.outlet.verdict("p0").failure is None  # it waited as long, but in the engine's hands
    assert bench.outlet.verdict("p3").failure is None  # its tenant waits for ever
    assert sum(engine.scored) == 2
    assert bench.acknowledged == [0, 1, 2, 3]


@pytest.mark.parametrize("crashes", [0, 3])
async def test_a_server_that_is_full_for_long_condemns_no_post_though_its_health_is_good(
    crashes: int,
) -> None:
    class Full(ScriptedEngine):
        absences = 12

        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            if self.absences:
                self.absences -= 1
                raise EngineUnavailable("away", refused=self.absences < 12 - crashes)
            return await super().score(prompts, timeout_s=timeout_s)

    bench = Bench(engine=Full(RULES), tree=settings(circuit_pause_s=0.01))
    await bench.run([post(number) for number in range(4)])
    assert codes(bench) == []
    assert bench.acknowledged == list(range(4))


async def test_an_engine_whose_every_call_is_a_fault_of_ours_holds_the_stream_as_well() -> None:
    class Broken(ScriptedEngine):
        broken = True

        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            if self.broken:
                raise RuntimeError
            return await super().score(prompts, timeout_s=timeout_s)

        async def health(self) -> Health:
            return Health(ok=not self.broken)

    engine = Broken(RULES)
    bench = Bench(engine=engine, tree=settings())
    running = asyncio.create_task(bench.run([post(number) for number in range(8)]))
    async with asyncio.timeout(10):
        while not bench.instruments.holds:
            await asyncio.sleep(0.01)
    engine.broken = False
    await running
    assert codes(bench) == [FailureCode.INTERNAL] * 3


@pytest.mark.parametrize("place", [0, 59])
async def test_scores_that_are_known_decide_a_long_post_whose_other_parts_were_given_up(place: int) -> None:
    profile = FakeProfile(max_prompt_tokens=600, rules={"[bad]": "unsafe", "[good]": "safe"})

    class Gone(ScriptedEngine):
        async def health(self) -> Health:
            return Health(ok=False)

        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            if any("[bad]" in self._tokenizer.decode(prompt.token_ids) for prompt in prompts):
                return await super().score(prompts, timeout_s=timeout_s)
            await asyncio.sleep(0.05)
            raise EngineUnavailable("gone")

        async def explain(
            self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
        ) -> list[Any]:
            del severities, timeout_s
            if prompts:
                raise EngineUnavailable("gone")
            return []

    sentences = ["[good] An ordinary sentence. "] * 60
    sentences[place] = "[bad] Quite another one. "
    rules = {"max_wait_seconds": 0.5, "failure_mode": "allow"}
    bench = Bench(
        engine=Gone(profile),
        profile=profile,
        policy={"name": "p", "version": "1", "tenants": {"default": {"rules": rules}}},
        tree={"micro_batch": {"posts": 1, "in_flight": 16}},
    )
    await bench.run([{"id": "long", "text": "".join(sentences)}])
    verdict = bench.outlet.verdict("long")
    assert verdict.segments.count > 1
    assert verdict.action == "block"
    assert verdict.failure is None


@pytest.mark.parametrize("micro_batch", [ONE_BY_ONE, {"posts": 2, "in_flight": 1}, {}])
async def test_while_another_worker_has_the_lease_a_suspect_waits_and_everybody_else_is_answered(
    micro_batch: dict[str, Any],
) -> None:
    engine = FakeEngine(RULES, faults=Faults(die=Fault(marker="poison")))
    bench = Bench(engine=engine, tree=settings(score_timeout_s=5) | {"micro_batch": micro_batch})
    told: list[Fact] = []
    servers = bench.flow.servers
    servers.announce_to(told.append)
    servers.follow(followed=True)
    state = judge_of(bench)._state
    poison = {"id": "poison", "text": "poison"}
    (cut,) = await bench.flow._routes.cut([Post(**poison)])
    for death in ("a" * 16, "b" * 16):
        state.prompts.heard_of([prompt_name("score", key) for key in cut.keys], death, 600)
    state.lease.begin(ours=False)
    neighbours = asyncio.Event()

    async def source() -> AsyncIterator[list[MemoryDelivery]]:
        yield [bench.delivery(one, number) for number, one in enumerate([poison, post(1)])]
        await neighbours.wait()
        # The engine was away meanwhile: a call has to try it, and the suspect's may not.
        yield [bench.delivery(one, 2 + number) for number, one in enumerate([post(2), post(3)])]

    running = asyncio.create_task(bench.flow.run(source()))
    async with asyncio.timeout(20):
        while len(bench.outlet.records) < 1:
            await asyncio.sleep(0.01)
        judge_of(bench).adapter_state.leave("it went away")
        neighbours.set()
        while len(bench.outlet.records) < 3:
            await asyncio.sleep(0.01)
        assert {verdict.post_id for verdict in bench.outlet.verdicts} == {"p1", "p2", "p3"}
        assert told == []
        state.lease.end()
        while not bench.outlet.records[3:]:
            servers.learn([fact for fact in told if isinstance(fact, Lease)])
            told.clear()
            await asyncio.sleep(0.05)
        await running
    assert codes(bench) == ["engine_crash"]
