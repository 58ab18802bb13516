from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, Fault, Faults
from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.flow.decision import decide
from sluicegate.schemas import Action, AssessedBy, FailureCode, ReasonCode
from unit.pipeline.fakes import Bench, MemoryDelivery, singly
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


async def test_each_post_leaves_on_the_topic_of_its_action() -> None:
    bench = Bench(profile=RULES)
    await bench.run([post(0), post(1, "[odd]"), post(2, "[bad]")])
    topics = {(record.key or b"").decode(): record.topic for record in bench.outlet.records}
    assert topics == {"p0": "verdicts.allow", "p1": "verdicts.review", "p2": "verdicts.block"}
    assert bench.acknowledged == [0, 1, 2]
    verdict = bench.outlet.verdict("p2")
    assert verdict.severity == "unsafe"
    assert verdict.categories
    assert verdict.assessed_by is AssessedBy.ENGINE
    assert verdict.engine.backend == "fake"
    assert verdict.policy.rule == "block_at.unsafe>=0.8"


async def test_a_confident_allow_is_not_explained_and_a_response_always_is() -> None:
    engine = ScriptedEngine()
    bench = Bench(engine=engine)
    await bench.run([post(0), post(1, kind="response", context="a question")])
    assert engine.explained == [1]
    assert bench.outlet.verdict("p0").refusal is None
    assert bench.outlet.verdict("p1").refusal is not None


async def test_a_post_without_company_goes_when_it_is_of_age_though_nothing_else_happens() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    bench = Bench(engine=engine, tree={"micro_batch": {"posts": 1_000, "max_age_ms": 30, "in_flight": 2}})

    async def source() -> AsyncIterator[MemoryDelivery]:
        for number in (0, 1):
            yield bench.delivery(post(number), number)
            while len(engine.scored) <= number:  # the engine is busy with all before it
                await asyncio.sleep(0.01)
        engine.gate.set()

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert engine.scored == [1, 1]


async def test_the_times_of_a_verdict_add_up_and_exceed_no_real_time() -> None:
    bench = Bench(profile=RULES)
    started = time.monotonic()
    await bench.run([post(0), post(1, "[bad]")])
    took_ms = (time.monotonic() - started) * 1000
    for verdict in bench.outlet.verdicts:
        timings = verdict.timings
        assert timings.total_ms == pytest.approx(timings.queued_ms + timings.engine_ms, abs=0.01)
        assert 0 < timings.engine_ms <= timings.total_ms <= took_ms + 0.01


async def test_nothing_is_acknowledged_before_it_is_published() -> None:
    bench = Bench(profile=RULES)
    bench.outlet.gate.clear()
    running = asyncio.create_task(bench.run([post(0), post(1), None, b"{"]))
    while bench.window.posts < 3 or bench.instruments.busy.in_work:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert bench.acknowledged == []  # not even the tombstone: it stands behind held posts
    bench.outlet.gate.set()
    await running
    assert bench.acknowledged == [0, 1, 2, 3]


async def test_a_burst_of_one_post_costs_one_judgement() -> None:
    engine = ScriptedEngine()
    bench = Bench(engine=engine)
    await bench.run([{"id": f"p{number}", "text": "[bad] the same"} for number in range(50)])
    assert sum(engine.scored) == 1
    verdicts = bench.outlet.verdicts
    assert len({verdict.verdict_id for verdict in verdicts}) == 50
    (leader,) = [verdict for verdict in verdicts if verdict.assessed_by is AssessedBy.ENGINE]
    assert {verdict.reused_from for verdict in verdicts if verdict is not leader} == {leader.verdict_id}
    assert {verdict.action for verdict in verdicts} == {Action.BLOCK}


async def test_a_later_copy_is_answered_from_the_cache_even_for_another_policy() -> None:
    engine = ScriptedEngine()
    policy = {
        "name": "two",
        "version": "1",
        "tenants": {
            "easy": {"rules": {"block_at": {"unsafe": 0.999}, "review_at": {"unsafe": 0.99, "risk": 1.0}}}
        },
    }
    bench = Bench(engine=engine, policy=policy)
    same = "[bad] the same"
    await bench.run([{"id": "strict", "text": same}, {"id": "easy", "text": same, "tenant": "easy"}])
    assert sum(engine.scored) == 1
    assert bench.outlet.verdict("strict").action is Action.BLOCK
    assert bench.outlet.verdict("easy").action is Action.ALLOW
    assert bench.outlet.verdict("strict").scores == bench.outlet.verdict("easy").scores


async def test_a_member_that_needs_an_explanation_gets_one_though_the_first_did_not() -> None:
    engine = ScriptedEngine()
    policy = {"name": "two", "version": "1", "tenants": {"keen": {"rules": {"explain_at": 0.0}}}}
    bench = Bench(engine=engine, policy=policy)
    engine.gate.clear()
    same = "[good] the same"
    running = asyncio.create_task(
        bench.run([{"id": "plain", "text": same}, {"id": "keen", "text": same, "tenant": "keen"}])
    )
    while not engine.scored:
        await asyncio.sleep(0)
    engine.gate.set()
    await running
    assert sum(engine.scored) == 1  # the scores are good for both
    assert bench.acknowledged == [0, 1]
    assert sum(engine.explained) == 1
    plain, keen = bench.outlet.verdict("plain"), bench.outlet.verdict("keen")
    assert (plain.assessed_by, plain.reused_from) == (AssessedBy.ENGINE, None)
    assert (keen.assessed_by, keen.reused_from) == (AssessedBy.CACHE, plain.verdict_id)


async def test_scores_that_an_earlier_post_was_given_are_told_as_reused_though_the_engine_explains_them() -> (
    None
):
    engine = ScriptedEngine()
    policy = {"name": "two", "version": "1", "tenants": {"keen": {"rules": {"explain_at": 0.0}}}}
    bench = Bench(engine=engine, policy=policy)

    async def source() -> AsyncIterator[MemoryDelivery]:
        yield bench.delivery({"id": "plain", "text": "[good] the same"}, 0)
        while not bench.outlet.records:
            await asyncio.sleep(0)
        yield bench.delivery({"id": "keen", "text": "[good] the same", "tenant": "keen"}, 1)

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert (sum(engine.scored), sum(engine.explained)) == (1, 1)
    plain, keen = bench.outlet.verdict("plain"), bench.outlet.verdict("keen")
    assert (keen.assessed_by, keen.reused_from) == (AssessedBy.CACHE, plain.verdict_id)


async def test_region_and_language_change_the_cache_key() -> None:
    engine = ScriptedEngine()
    bench = Bench(engine=engine)
    same = "[good] the same"
    await bench.run(
        [
            {"id": "a", "text": same},
            {"id": "b", "text": same, "region": "DE"},
            {"id": "c", "text": same, "language": "de"},
        ]
    )
    assert sum(engine.scored) == 3


async def test_a_tokeniser_that_breaks_on_one_post_fails_that_post_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(profile=RULES)
    build_many = bench.backend.prompter.build_many

    def breaks(posts: Sequence[Any]) -> list[Any]:
        if any("poison" in item.text for item in posts):
            raise RuntimeError("poison")
        return build_many(posts)

    monkeypatch.setattr(bench.backend.prompter, "build_many", breaks)  # it cannot fail by itself
    await bench.run([post(0), post(1, "poison"), post(2)])
    failed = [verdict.post_id for verdict in bench.outlet.verdicts if verdict.failure]
    assert failed == ["p1"]
    assert bench.acknowledged == [0, 1, 2]


async def test_undecodable_records_become_dead_letters_and_the_rest_goes_on() -> None:
    bench = Bench(profile=RULES)
    await bench.run([b"{", post(0), b"[]", None])
    assert [letter.code for letter in bench.outlet.dead_letters] == [
        ReasonCode.INVALID_JSON,
        ReasonCode.INVALID_POST,
    ]
    assert [letter.origin.offset for letter in bench.outlet.dead_letters] == [0, 2]
    assert bench.acknowledged == [0, 1, 2, 3]
    assert bench.metric("tombstones_total") == 1


async def test_what_was_given_back_is_neither_published_nor_acknowledged() -> None:
    engine = ScriptedEngine()
    bench = Bench(engine=engine)
    engine.gate.clear()
    running = asyncio.create_task(bench.run([post(0), post(1, "[bad]")]))
    while not engine.scored:
        await asyncio.sleep(0)
    assert bench.window.release() == 2
    engine.gate.set()
    await running
    assert bench.outlet.records == []
    assert bench.acknowledged == []
    assert ("released", 0) in bench.log


async def test_a_copy_that_joins_a_judgement_everybody_else_abandoned_is_still_answered() -> None:
    engine = ScriptedEngine()
    bench = Bench(engine=engine)
    engine.away = 2
    same = {"id": "first", "text": "[good] the same"}

    async def source() -> Any:
        yield bench.delivery(same, 0)
        while not bench.instruments.holds:
            await asyncio.sleep(0.01)
        bench.window.release()
        yield bench.delivery(same | {"id": "again"}, 0)

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert [verdict.post_id for verdict in bench.outlet.verdicts] == ["again"]
    assert bench.acknowledged == [0]


async def test_the_verdict_id_is_the_same_for_a_repeat_and_differs_for_another_outcome() -> None:
    first, second = Bench(profile=RULES), Bench(profile=RULES)
    await first.run([post(0, "[bad]")])
    await second.run([post(0, "[bad]")])
    failing = Bench(engine=FakeEngine(RULES, faults=Faults(error=Fault())))
    await failing.run([post(0, "[bad]")])
    ids = [bench.outlet.verdict("p0").verdict_id for bench in (first, second, failing)]
    assert ids[0] == ids[1] != ids[2]


async def test_trace_context_is_carried_and_other_headers_are_not() -> None:
    bench = Bench(profile=RULES)

    async def source() -> Any:
        delivery = bench.delivery(post(0), 0)
        delivery.headers = (
            ("traceparent", b"00-aa-bb-01"),
            ("cookie", b"secret"),
            ("tracestate", b"x" * 600),
        )
        yield delivery

    await bench.flow.run(singly(source()))
    headers = dict(bench.outlet.records[0].headers)
    assert headers["traceparent"] == b"00-aa-bb-01"
    assert "cookie" not in headers
    assert "tracestate" not in headers  # longer than is carried
    assert headers["verdict-id"] == bench.outlet.verdict("p0").verdict_id.encode()


async def test_an_outlet_that_is_dead_for_good_ends_the_flow_unacknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(profile=RULES)

    async def broken(_records: Any) -> None:
        raise OSError("dead")

    monkeypatch.setattr(bench.outlet, "publish", broken)
    with pytest.raises(ExceptionGroup):
        await bench.run([post(0)])
    assert bench.acknowledged == []


async def test_a_fault_in_deciding_gives_that_post_its_failure_mode(monkeypatch: pytest.MonkeyPatch) -> None:

    def breaks(post_: Any, finding: Any, *rest: Any) -> Any:
        if post_.id == "p1" and not isinstance(finding, ItemFailure):
            raise ValueError("the text of a post")
        return decide(post_, finding, *rest)

    monkeypatch.setattr("sluicegate.pipeline.flow.answers.decide", breaks)
    bench = Bench(profile=RULES)
    await bench.run([post(0), post(1), post(2)])
    failed = {verdict.post_id: verdict.failure for verdict in bench.outlet.verdicts if verdict.failure}
    assert {name: failure.code for name, failure in failed.items()} == {"p1": FailureCode.INTERNAL}
    assert bench.acknowledged == [0, 1, 2]


async def test_a_flow_that_has_ended_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    bench = Bench(profile=RULES)
    await bench.run([post(0)])
    left = [one for one in threading.enumerate() if one not in before and one.name.startswith("tokenise")]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
