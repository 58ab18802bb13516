"""Tenants' adapters in the flow: each post is judged by its own, and by no other, whatever is away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Health, ItemFailure, Scored
from sluicegate.pipeline.flow.adapter_state import CallOutcome
from sluicegate.pipeline.flow.routes import Routes
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import CATEGORIES, FailureCode
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import post
from unit.pipeline.shortcuts.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.engines.protocol import Prompt
    from sluicegate.pipeline.flow.judge import Judge

POLICY: dict[str, Any] = {
    "name": "p",
    "version": "1",
    "tenants": {"teens": {"rules": {"adapter": "strict"}}, "bank": {"rules": {"adapter": "sober"}}},
}
ONE_BY_ONE = {"posts": 1, "in_flight": 1}
SUSPECTS = [
    {"id": "killer", "text": "poison", "tenant": "teens"},
    {"id": "beside", "text": "hello", "tenant": "teens"},
]
QUICK = {"circuit_pause_s": 0.02, "circuit_mute_calls": 2, "score_timeout_s": 0.2}


class Switched(FakeEngine):
    """A fake that a test can take away, and that keeps what it was asked."""

    def __init__(self, profile: FakeProfile, adapter: str | None = None) -> None:
        super().__init__(profile, adapter=adapter)
        self.away = False
        self.asked: list[list[str]] = []
        self.killer: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.crashes = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        texts = [self._tokenizer.decode(prompt.token_ids) for prompt in prompts]
        if self.killer and any(self.killer in text for text in texts):
            await asyncio.sleep(0.02)
            self.crashes += 1
            FakeEngine.lives += 1
            raise EngineUnavailable("it crashed")
        if self.away:
            raise EngineUnavailable("nobody answers")
        self.asked.append(texts)
        await self.gate.wait()
        return await super().score(prompts, timeout_s=timeout_s)

    async def health(self) -> Health:
        return Health(ok=not self.away)


class Court(Bench):
    """A flow with an engine of its own and two adapters: one finds all unsafe, the other all safe."""

    def __init__(
        self, *, tree: dict[str, Any] | None = None, server: str | None = None, policy: Any = None
    ) -> None:
        self.own = Switched(FakeProfile(rules={"": "controversial"}))
        self.strict = Switched(FakeProfile(rules={"": "unsafe"}), "strict")
        self.sober = Switched(FakeProfile(rules={"": "safe"}), "sober")
        adapters = {
            name: Backend(engine, fake_prompter(), CATEGORIES, server=server)
            for name, engine in {"strict": self.strict, "sober": self.sober}.items()
        }
        super().__init__(engine=self.own, policy=policy or POLICY, tree=tree, adapters=adapters)

    def codes(self) -> dict[str, str]:
        return {
            verdict.post_id: str(verdict.failure.code) for verdict in self.outlet.verdicts if verdict.failure
        }


def mixed(count: int, text: str = "hello") -> list[dict[str, Any]]:
    return [post(number, text, tenant=("teens", "bank", "default")[number % 3]) for number in range(count)]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


async def test_the_same_post_of_three_tenants_gets_three_adapters_verdicts() -> None:
    court = Court()
    await court.run(
        [{"id": tenant, "text": "hello", "tenant": tenant} for tenant in ("teens", "bank", "default")]
    )
    found = {
        verdict.tenant: (verdict.severity, verdict.engine.adapter, verdict.engine.digest)
        for verdict in court.outlet.verdicts
    }
    assert found == {
        "teens": ("unsafe", "strict", court.strict.info.digest),
        "bank": ("safe", "sober", court.sober.info.digest),
        "default": ("controversial", None, court.own.info.digest),
    }
    assert len({digest for _, _, digest in found.values()}) == 3


async def test_an_adapter_is_chosen_by_kind_region_and_language_like_any_rule() -> None:
    policy = {
        "name": "p",
        "version": "1",
        "rules": {"adapter": "sober"},
        "kinds": {"prompt": {"adapter": "strict"}},
        "tenants": {"plain": {"rules": {"adapter": None}}},
        "overrides": [{"when": {"language": "zh"}, "rules": {"adapter": "strict"}}],
    }
    court = Court(policy=policy)
    await court.run(
        [
            {"id": "post", "text": "x"},
            {"id": "prompt", "text": "x", "kind": "prompt"},
            {"id": "plain", "text": "x", "tenant": "plain"},
            {"id": "zh", "text": "x", "tenant": "plain", "language": "zh-Hant"},
        ]
    )
    adapters = {verdict.post_id: verdict.engine.adapter for verdict in court.outlet.verdicts}
    assert adapters == {"post": "sober", "prompt": "strict", "plain": None, "zh": "strict"}


async def test_a_micro_batch_has_the_posts_of_one_adapter() -> None:
    court = Court(tree={"micro_batch": {"posts": 4}})
    object.__setattr__(court.own.info, "adapter", "strict")  # what its bundle calls the one that is merged in
    await court.run(
        [
            post(number, f"of-{number % 3}", tenant=("teens", "bank", "default")[number % 3])
            for number in range(60)
        ]
    )
    for engine, marker in ((court.strict, "of-0"), (court.sober, "of-1"), (court.own, "of-2")):
        assert sum(map(len, engine.asked)) == 20
        assert all(marker in text for texts in engine.asked for text in texts)
        assert max(map(len, engine.asked)) > 1  # they were sent together, or this shows nothing


async def test_a_finding_is_reused_within_its_adapter_and_never_across() -> None:
    court = Court()  # of engines that differ in nothing but the adapter's name, not even in the digest
    for engine in (court.own, court.strict, court.sober):
        object.__setattr__(engine.info, "digest", "sha256:" + "0" * 64)
    text = "word for word the same"
    tenants = ["teens", "teens", "bank", "bank", "default", "default"]
    await court.run([{"id": f"p{n}", "text": text, "tenant": tenant} for n, tenant in enumerate(tenants)])
    severities = [court.outlet.verdict(f"p{number}").severity for number in range(6)]
    assert severities == ["unsafe", "unsafe", "safe", "safe", "controversial", "controversial"]
    assert [len(engine.asked) for engine in (court.own, court.strict, court.sober)] == [1, 1, 1]
    assert len({verdict.verdict_id for verdict in court.outlet.verdicts}) == 6
    assert len(court.flow.cache) == 3


async def test_a_post_that_waits_keeps_the_adapter_that_it_was_planned_with() -> None:
    court = Court(tree={"micro_batch": ONE_BY_ONE})
    court.strict.gate.clear()
    running = asyncio.create_task(court.run([post(number, tenant="teens") for number in range(3)]))
    await until(lambda: bool(court.strict.asked) and court.flow.work.waiting == 2)
    court.policy = Policy.parse(POLICY | {"version": "2", "tenants": {}})
    court.strict.gate.set()
    await running
    stamps = {(verdict.engine.adapter, verdict.policy.version) for verdict in court.outlet.verdicts}
    assert stamps == {("strict", "2")}


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_while_an_adapter_is_away_the_posts_of_the_others_are_answered_and_its_own_wait(
    in_flight: int,
) -> None:
    court = Court(tree={"engine": QUICK, "micro_batch": {"posts": 1, "in_flight": in_flight}})
    court.strict.away = True
    with capture_logs() as lines:
        running = asyncio.create_task(court.run(mixed(30)))
        await until(lambda: len(court.outlet.verdicts) == 20)
        assert {verdict.tenant for verdict in court.outlet.verdicts} == {"bank", "default"}
        (hold,) = court.instruments.holds.current.values()
        assert hold.reason == "adapter strict: nobody answers"
        assert court.metric("adapter_circuit", adapter="strict", state="closed") == 0
        assert court.metric("engine_circuit", state="closed") == 1
        court.strict.away = False
        await running
    assert court.codes() == {}
    assert court.acknowledged == list(range(30))
    assert not court.instruments.holds
    turns = [(line["adapter"], line["state"]) for line in lines if line["event"] == "engine_circuit"]
    assert turns == [("strict", "open"), ("strict", "half_open"), ("strict", "closed")]


@pytest.mark.parametrize("gone", ["strict", "own"])
async def test_an_engine_that_stays_away_beside_others_gives_its_posts_their_failure_mode(gone: str) -> None:
    tree = {"engine": QUICK | {"adapter_wait_s": 0.4}, "micro_batch": ONE_BY_ONE, "window": {"posts": 6}}
    court = Court(tree=tree)
    engine: Switched = getattr(court, gone)
    engine.away = True
    await court.run(mixed(60))  # ten windows: it ends only because the posts of the missing one leave
    tenant = {"strict": "teens", "own": "default"}[gone]
    verdicts = court.outlet.verdicts
    failed = [verdict for verdict in verdicts if verdict.failure]
    assert {verdict.tenant for verdict in failed} == {tenant}
    assert len(failed) == 20
    assert {(str(one.failure.code), one.action.value) for one in failed if one.failure} == {
        (FailureCode.ENGINE_UNAVAILABLE, "review")
    }
    assert {verdict.engine.adapter for verdict in failed} == {engine.info.adapter}
    assert court.acknowledged == list(range(60))


async def test_where_all_engines_are_away_nobody_is_given_up() -> None:
    court = Court(tree={"engine": QUICK | {"adapter_wait_s": 0.1}, "micro_batch": ONE_BY_ONE})
    engines = (court.own, court.strict, court.sober)
    for engine in engines:
        engine.away = True
    running = asyncio.create_task(court.run(mixed(9)))
    await asyncio.sleep(1)
    assert court.outlet.verdicts == []
    for engine in engines:
        engine.away = False
    await running
    assert court.acknowledged == list(range(9))


def test_an_outage_of_all_engines_does_not_count_against_the_one_that_is_back_second() -> None:
    court = Court(tree={"engine": {"adapter_wait_s": 60.0}})
    routes = Routes(
        court.backends, court.settings, lambda: court.policy, court.instruments, turned=lambda: None
    )
    standings = {route.adapter: route.judge.adapter_state for route in routes}
    for adapter_state in standings.values():
        adapter_state.leave("nobody answers")
    own = standings[None]
    own.asked(healthy=True)
    leave = own.admit()
    assert leave is not None
    own.report(leave, CallOutcome.ANSWERED)
    left = standings["strict"].away_since
    assert left is not None
    assert left < own.up_since
    assert routes.given_up(left + 60.0) == set()
    assert {route.adapter for route in routes.given_up(own.up_since + 60.0)} == {"strict", "sober"}


@pytest.mark.parametrize("case", ["idle on the same server", "not in the policy"])
async def test_an_idle_engine_that_nobody_would_miss_gives_up_no_others_posts(case: str) -> None:
    """It passes for at work, since nothing was asked of it: that protects nobody, so the stream holds."""
    tree = {"engine": QUICK | {"adapter_wait_s": 0.1}, "micro_batch": ONE_BY_ONE}
    if case == "not in the policy":
        court = Court(tree=tree, policy={"name": "p", "version": "1", "rules": {"adapter": "strict"}})
    else:
        court = Court(tree=tree, server="http://one")
        court.policy = Policy.parse(POLICY | {"rules": {"adapter": "sober"}})
    court.strict.away = True
    running = asyncio.create_task(court.run([post(number, tenant="teens") for number in range(3)]))
    await asyncio.sleep(1)
    assert court.outlet.verdicts == []
    court.strict.away = False
    await running
    assert court.codes() == {}


async def test_posts_on_trial_wait_for_what_the_engine_says_however_long_it_was_away() -> None:
    court = Court(tree={"engine": QUICK | {"adapter_wait_s": 0.4, "score_timeout_s": 5.0}})
    court.strict.away = True
    court.strict.gate.clear()
    running = asyncio.create_task(court.run(mixed(3)))
    await until(lambda: bool(court.instruments.holds))
    court.strict.away = False
    await until(lambda: bool(court.strict.asked))
    await asyncio.sleep(1)  # several looks beyond the wait
    assert court.codes() == {}
    court.strict.gate.set()
    await running
    assert court.codes() == {}


async def test_a_tenants_own_patience_counts_for_its_own_adapter() -> None:
    hasty = {"rules": {"adapter": "strict", "max_wait_seconds": 0.3}}
    court = Court(tree={"engine": QUICK}, policy=POLICY | {"tenants": {"teens": hasty}})
    court.strict.away = True
    await court.run(mixed(6))
    assert court.codes() == dict.fromkeys(["p0", "p3"], FailureCode.ENGINE_UNAVAILABLE)


async def test_a_text_that_kills_a_shared_server_condemns_no_text_of_another_adapter() -> None:
    court = Court(server="http://one", tree={"engine": QUICK, "micro_batch": {"posts": 1, "in_flight": 4}})
    court.strict.killer = "poison"

    async def lost_with_the_server(
        prompts: Sequence[Prompt], *, timeout_s: float
    ) -> list[Scored | ItemFailure]:
        before = court.strict.crashes
        await asyncio.sleep(0.25)  # longer than the server lives between two crashes
        if court.strict.crashes != before:
            raise EngineUnavailable("it crashed")
        return await Switched.score(court.sober, prompts, timeout_s=timeout_s)

    court.sober.score = lost_with_the_server  # type: ignore[method-assign]  # both stand for one process
    killers = [{"id": f"k{number}", "text": f"poison {number}", "tenant": "teens"} for number in range(3)]
    await court.run([*killers, post(0, tenant="bank")])
    assert court.codes() == {str(one["id"]): FailureCode.ENGINE_CRASH for one in killers}
    assert court.acknowledged == list(range(4))


async def test_the_search_for_a_killer_does_not_wait_for_another_adapter_of_the_server() -> None:
    court = Court(server="http://one", tree={"engine": QUICK, "micro_batch": {"posts": 1, "in_flight": 4}})
    court.sober.away = True
    court.strict.killer = "poison"
    posts = [post(0, tenant="bank"), {"id": "killer", "text": "poison", "tenant": "teens"}, post(1)]
    running = asyncio.create_task(court.run(posts))
    await until(lambda: len(court.outlet.verdicts) == 2)
    assert court.codes() == {"killer": FailureCode.ENGINE_CRASH}
    court.sober.away = False
    await running


async def test_who_waits_for_the_end_of_that_search_waits_no_longer_than_its_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasty = {"rules": {"adapter": "sober", "max_wait_seconds": 0.3}}
    policy = POLICY | {"tenants": POLICY["tenants"] | {"bank": hasty}}
    court = Court(server="http://one", tree={"engine": QUICK}, policy=policy)
    court.strict.killer = "poison"
    crashing = court.strict.score

    async def then_hanging(prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        if court.strict.crashes == 2:
            await asyncio.Event().wait()
        return await crashing(prompts, timeout_s=timeout_s)

    monkeypatch.setattr(court.strict, "score", then_hanging)
    state = next(route.judge._state for route in court.flow._routes if route.adapter == "strict")
    async with Turns(court) as turns:
        await turns.send(*SUSPECTS)
        await until(lambda: any(permit.one for permit in state._work))
        (verdict,) = await turns.judge(post(0, tenant="bank"))
        assert verdict.failure is not None
        assert verdict.failure.code is FailureCode.ENGINE_UNAVAILABLE
        assert court.sober.asked == []
        await turns.kill()


async def test_an_adapter_that_is_gone_in_the_midst_of_that_search_keeps_out_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = QUICK | {"adapter_wait_s": 0.2}
    court = Court(server="http://one", tree={"engine": engine}, policy=POLICY)
    court.strict.killer = "poison"
    for route in court.flow._routes:
        route.server = "http://one"  # the engine's own route, too

    async def gone_for_good() -> Health:
        return Health(ok=court.strict.crashes < 2)

    monkeypatch.setattr(court.strict, "health", gone_for_good)
    async with Turns(court) as turns:
        await turns.send(*SUSPECTS)
        await until(lambda: court.strict.crashes == 2)
        await turns.send(post(0, tenant="bank"))
        await until(lambda: len(court.outlet.verdicts) == 3)
    found = {verdict.post_id: verdict for verdict in court.outlet.verdicts}
    assert found[post(0)["id"]].failure is None
    assert court.codes() == dict.fromkeys(["killer", "beside"], "engine_unavailable")


async def test_a_text_is_not_condemned_for_the_crash_of_another_adapters_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    court = Court(server="http://one", tree={"engine": QUICK}, policy=POLICY)
    down_until = crashes = 0.0

    def sharing(engine: Switched) -> None:
        score = engine.score

        async def on_one_server(prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
            nonlocal down_until, crashes
            if time.monotonic() < down_until:
                raise EngineUnavailable("it is starting")
            before = crashes
            await asyncio.sleep(0.02)
            if any("poison" in engine._tokenizer.decode(prompt.token_ids) for prompt in prompts):
                crashes, down_until = crashes + 1, time.monotonic() + 0.3
                FakeEngine.lives += 1
            if crashes != before:
                raise EngineUnavailable("it crashed")
            return await score(prompts, timeout_s=timeout_s)

        async def health() -> Health:
            return Health(ok=time.monotonic() >= down_until)

        monkeypatch.setattr(engine, "score", on_one_server)
        monkeypatch.setattr(engine, "health", health)

    for engine in (court.strict, court.sober):
        sharing(engine)
    await court.run(
        [
            {"id": "killer", "text": "poison", "tenant": "teens"},
            {"id": "other", "text": "hello", "tenant": "bank"},
        ]
    )
    assert court.codes() == {"killer": "engine_crash"}


def test_each_server_has_its_own_state_and_the_adapters_of_one_share_it() -> None:
    def of(court: Court) -> list[Judge]:
        return [route.judge for route in court.flow._routes]

    alone, together = of(Court()), of(Court(server="http://one"))
    assert len({id(judge._state) for judge in alone}) == 3
    assert len({id(judge._state) for judge in together}) == 2
