"""What the flow makes of an engine that fails, goes away or is killed by a post."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sluicegate.engines.backends.fake import FakeEngine, Fault, Faults
from sluicegate.engines.protocol import Explanation, Health, ItemFailure, Scored
from sluicegate.schemas import Action, AssessedBy, FailureCode
from unit.pipeline.fakes import Bench, singly
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("garble", FailureCode.UNPARSABLE),
        ("empty", FailureCode.EMPTY_COMPLETION),
        ("labels_missing", FailureCode.LABELS_MISSING),
        ("error", FailureCode.ENGINE_ERROR),
        ("hang", FailureCode.TIMED_OUT),
    ],
)
@pytest.mark.parametrize("mode", ["review", "block", "allow"])
async def test_an_engine_that_fails_on_posts_gives_their_failure_mode(
    fault: str, code: FailureCode, mode: str
) -> None:
    engine = FakeEngine(RULES, faults=Faults(**{fault: Fault()}))
    policy = {"name": "p", "version": "1", "tenants": {"default": {"rules": {"failure_mode": mode}}}}
    bench = Bench(engine=engine, policy=policy, tree={"engine": {"score_timeout_s": 0.1}})
    await bench.run([post(0, "[bad]"), post(1)])
    for verdict in bench.outlet.verdicts:
        assert verdict.failure is not None
        assert verdict.failure.code is code
        assert verdict.action.value == verdict.failure.mode.value == mode
        assert verdict.severity is None
        assert verdict.scores is None
        assert verdict.assessed_by is AssessedBy.NONE
    assert bench.acknowledged == [0, 1]
    assert len(bench.flow.cache) == 0


async def test_the_time_of_calls_and_the_sizes_of_micro_batches_are_counted() -> None:
    bench = Bench(engine=FakeEngine(RULES), tree={"micro_batch": {"posts": 2}})
    began = time.monotonic()
    await bench.run([post(number) for number in range(5)])
    spent = time.monotonic() - began
    calls = bench.metric("micro_batch_posts_count")  # they overlap
    assert 0 < bench.metric("engine_call_seconds_total", call="score") < spent * calls
    assert bench.metric("micro_batch_posts_sum") == 5
    assert bench.metric("micro_batch_posts_count") >= 3
    assert bench.metric("micro_batch_tokens_count") == bench.metric("micro_batch_posts_count")


async def test_an_answer_that_failed_is_logged_with_its_posts_and_without_their_text() -> None:
    bench = Bench(engine=FakeEngine(RULES, faults=Faults(error=Fault())))
    with capture_logs() as logs:
        await bench.run([post(0, "[bad] secret")])
    (told,) = [one for one in logs if one["event"] == "item_failed"]
    assert (told["call"], told["code"], told["posts"]) == ("score", "engine_error", ["p0"])
    assert "secret" not in str(told)
    with capture_logs() as logs:
        await Bench(engine=FakeEngine(RULES)).run([post(0)])
    assert not [one for one in logs if one["event"] == "item_failed"]


async def test_the_tokens_that_a_prefix_cache_served_are_counted_of_every_prompt() -> None:
    class Remembering(ScriptedEngine):
        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            scored = await super().score(prompts, timeout_s=timeout_s)
            return [replace(one, cached_tokens=7) for one in scored if isinstance(one, Scored)]

    bench = Bench(engine=Remembering())
    await bench.run([post(number) for number in range(3)])
    assert bench.metric("cached_prompt_tokens_total") == 21
    assert bench.metric("prompt_tokens_total") > 21


async def test_an_absent_engine_holds_the_stream_and_nothing_leaves() -> None:
    engine = ScriptedEngine()
    engine.away = 3
    bench = Bench(engine=engine)
    running = asyncio.create_task(bench.run([post(0), post(1)]))
    while not bench.instruments.holds:
        await asyncio.sleep(0.01)
    assert bench.outlet.records == []
    assert bench.metric("hold", name="engine") == 1
    await running
    assert bench.metric("hold", name="engine") == 0
    assert {verdict.action for verdict in bench.outlet.verdicts} == {Action.ALLOW}
    assert bench.acknowledged == [0, 1]


async def test_a_tenant_that_waits_no_longer_gets_its_failure_mode_and_the_others_wait_on() -> None:
    engine = ScriptedEngine()
    engine.away = 4
    policy = {
        "name": "p",
        "version": "1",
        "tenants": {"hasty": {"rules": {"max_wait_seconds": 0.1, "failure_mode": "block"}}},
    }
    bench = Bench(engine=engine, policy=policy)
    same = "[good] the same"
    await bench.run([{"id": "patient", "text": same}, {"id": "hasty", "text": same, "tenant": "hasty"}])
    hasty, patient = bench.outlet.verdict("hasty"), bench.outlet.verdict("patient")
    assert hasty.failure is not None
    assert hasty.failure.code is FailureCode.ENGINE_UNAVAILABLE
    assert hasty.action is Action.BLOCK
    assert patient.failure is None
    assert patient.action is Action.ALLOW


async def test_a_post_that_kills_the_engine_is_found_and_its_neighbours_are_judged() -> None:
    engine = ScriptedEngine()
    engine.killer = "poison"
    bench = Bench(engine=engine, tree={"micro_batch": {"posts": 8}})
    await bench.run([post(number, "[good] poison" if number == 5 else "[good] fine") for number in range(20)])
    failed = {verdict.post_id: verdict.failure for verdict in bench.outlet.verdicts if verdict.failure}
    assert {name: failure.code for name, failure in failed.items()} == {"p5": FailureCode.ENGINE_CRASH}
    assert bench.outlet.verdict("p5").action is Action.REVIEW
    assert len(engine.killed) == 3
    assert engine.killed[-1] == 1  # condemned only alone
    assert bench.acknowledged == list(range(20))
    assert not bench.instruments.holds


async def test_two_posts_that_kill_the_engine_are_both_found() -> None:
    engine = ScriptedEngine()
    engine.killer = "poison"
    bench = Bench(engine=engine, tree={"micro_batch": {"posts": 4}})
    await bench.run([post(number, "poison" if number in {1, 6} else "[good] fine") for number in range(8)])
    failed = sorted(verdict.post_id for verdict in bench.outlet.verdicts if verdict.failure)
    assert failed == ["p1", "p6"]
    assert len(engine.killed) <= 6
    assert bench.acknowledged == list(range(8))


async def test_what_the_engine_said_of_one_suspect_is_not_lost_while_the_next_one_holds_it_up() -> None:
    class Gone(ScriptedEngine):
        async def health(self) -> Health:
            return Health(ok=len(self.killed) < 3)

    engine = Gone()
    engine.killer = "poison"
    rules = {"max_wait_seconds": 2.0, "failure_mode": "allow"}
    policy = {"name": "p", "version": "1", "tenants": {"default": {"rules": rules}}}
    tree = {"micro_batch": {"posts": 8, "in_flight": 1}, "engine": {"circuit_pause_s": 0.01}}
    bench = Bench(engine=engine, policy=policy, tree=tree)
    await bench.run([post(0, "[bad]"), post(1, "[good]"), post(2, "poison")])
    verdict = bench.outlet.verdict("p0")
    assert verdict.action is Action.BLOCK  # its tenant fails open, and the engine had said unsafe
    assert verdict.failure is None


@pytest.mark.parametrize("drop", [True, False])
async def test_a_fault_of_an_engine_fails_its_posts_and_the_partition_goes_on(drop: bool) -> None:
    engine = ScriptedEngine()
    engine.drop_answer = drop
    engine.fault = None if drop else ValueError("the text of a post")
    bench = Bench(engine=engine)
    await bench.run([post(0), post(1, "[bad]")])
    codes = {verdict.failure.code for verdict in bench.outlet.verdicts if verdict.failure}
    assert codes == {FailureCode.UNPARSABLE if drop else FailureCode.INTERNAL}
    assert {verdict.action for verdict in bench.outlet.verdicts} == {Action.REVIEW}
    assert bench.acknowledged == [0, 1]


async def test_a_failed_explanation_leaves_the_scores_in_charge() -> None:
    class Mute(ScriptedEngine):
        async def explain(
            self, prompts: Any, severities: Any, *, timeout_s: float, texts: Any = None
        ) -> list[Any]:
            return [ItemFailure(FailureCode.TIMED_OUT) for _ in prompts]

    bench = Bench(engine=Mute())
    await bench.run([post(0, "[bad]")])
    verdict = bench.outlet.verdict("p0")
    assert verdict.action is Action.BLOCK
    assert verdict.failure is None
    assert verdict.explanation_failure is FailureCode.TIMED_OUT
    assert verdict.categories == ()


async def test_an_explanation_beyond_the_contract_is_left_out() -> None:
    class Chatty(ScriptedEngine):
        async def explain(
            self, prompts: Any, severities: Any, *, timeout_s: float, texts: Any = None
        ) -> list[Any]:
            return [Explanation(("x" * 1000,)) for _ in prompts]

    bench = Bench(engine=Chatty())
    await bench.run([post(0, "[bad]")])
    assert bench.outlet.verdict("p0").explanation_failure is FailureCode.UNPARSABLE
    assert bench.outlet.verdict("p0").action is Action.BLOCK


async def test_a_copy_is_explained_anew_where_the_first_explanation_failed() -> None:
    class MuteOnce(ScriptedEngine):
        async def explain(
            self, prompts: Any, severities: Any, *, timeout_s: float, texts: Any = None
        ) -> list[Any]:
            found = await super().explain(prompts, severities, timeout_s=timeout_s, texts=texts)
            return found if len(self.explained) > 1 else [ItemFailure(FailureCode.TIMED_OUT) for _ in prompts]

    engine = MuteOnce()
    bench = Bench(engine=engine)

    async def source() -> Any:
        yield bench.delivery({"id": "first", "text": "[bad] the same"}, 0)
        while not bench.outlet.records:
            await asyncio.sleep(0.01)
        yield bench.delivery({"id": "copy", "text": "[bad] the same"}, 1)

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert bench.outlet.verdict("first").explanation_failure is FailureCode.TIMED_OUT
    copy = bench.outlet.verdict("copy")
    assert copy.explanation_failure is None
    assert copy.categories
    assert (sum(engine.scored), engine.explained) == (1, [1, 1])
