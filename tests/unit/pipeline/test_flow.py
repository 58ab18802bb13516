from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Explanation, ItemFailure, Scored
from sluicegate.pipeline.verdicts import decide
from sluicegate.schemas import Action, AssessedBy, FailureCode, ReasonCode
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = FakeProfile(rules={"[bad]": "unsafe", "[odd]": "controversial", "[good]": "safe"})


def post(number: int, text: str = "[good] hello", **fields: Any) -> dict[str, Any]:
    return {"id": f"p{number}", "text": f"{text} {number}", **fields}


class ScriptedEngine(FakeEngine):
    """A fake engine whose calls a test can count, break and hold up."""

    def __init__(self, profile: FakeProfile = RULES) -> None:
        super().__init__(profile)
        self.scored: list[int] = []
        self.explained: list[int] = []
        self.killed: list[int] = []
        self.away = 0
        self.killer: str | None = None
        self.fault: Exception | None = None
        self.drop_answer = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
        if self.away:
            self.away -= 1
            raise EngineUnavailable("nobody answers")
        if self.killer and any(self.killer in self._tokenizer.decode(prompt.token_ids) for prompt in prompts):
            self.killed.append(len(prompts))
            raise EngineUnavailable("it crashed")
        if self.fault is not None:
            raise self.fault
        self.scored.append(len(prompts))
        await self.gate.wait()
        answers = await super().score(prompts, timeout_s=timeout_s)
        return answers[:-1] if self.drop_answer else answers

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float
    ) -> list[Explanation | ItemFailure]:
        if prompts:
            self.explained.append(len(prompts))
        return await super().explain(prompts, severities, timeout_s=timeout_s)


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
    assert engine.killed[-2:] == [1, 1]  # condemned only alone, and only the second time
    assert bench.acknowledged == list(range(20))
    assert not bench.instruments.holds


async def test_two_posts_that_kill_the_engine_are_both_found() -> None:
    engine = ScriptedEngine()
    engine.killer = "poison"
    bench = Bench(engine=engine, tree={"micro_batch": {"posts": 4}})
    await bench.run([post(number, "poison" if number in {1, 6} else "[good] fine") for number in range(8)])
    failed = sorted(verdict.post_id for verdict in bench.outlet.verdicts if verdict.failure)
    assert failed == ["p1", "p6"]
    assert bench.acknowledged == list(range(8))


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
        async def explain(self, prompts: Any, severities: Any, *, timeout_s: float) -> list[Any]:
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
        async def explain(self, prompts: Any, severities: Any, *, timeout_s: float) -> list[Any]:
            return [Explanation(("x" * 1000,)) for _ in prompts]

    bench = Bench(engine=Chatty())
    await bench.run([post(0, "[bad]")])
    assert bench.outlet.verdict("p0").explanation_failure is FailureCode.UNPARSABLE
    assert bench.outlet.verdict("p0").action is Action.BLOCK


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


@pytest.mark.parametrize("limits", [{"post_tokens": 1000}, {"segments": 2}])
async def test_too_long_a_text_goes_to_no_engine(limits: dict[str, int]) -> None:
    profile = FakeProfile(max_prompt_tokens=400)
    engine = ScriptedEngine(profile)
    bench = Bench(engine=engine, profile=profile, tree={"limits": limits})
    await bench.run([post(0, "x" * 5000)])
    verdict = bench.outlet.verdict("p0")
    assert verdict.failure is not None
    assert verdict.failure.code is FailureCode.TOO_LONG
    assert engine.scored == []


LONG = FakeProfile(max_prompt_tokens=600, rules=RULES.rules)
FILLER = "".join(f"[good] Ordinary sentence {number}. " for number in range(60))


@pytest.mark.parametrize("place", [0, 30, 59])
async def test_the_worst_segment_decides_wherever_it_stands(place: int) -> None:
    sentences = ["[good] An ordinary sentence. "] * 60
    sentences[place] = "[bad] Quite another one. "
    engine = ScriptedEngine(FakeProfile(max_prompt_tokens=600, rules={"[bad]": "unsafe", "[good]": "safe"}))
    bench = Bench(engine=engine, profile=engine.profile)
    text = "".join(sentences)
    await bench.run([{"id": "long", "text": text}, post(1)])
    verdict = bench.outlet.verdict("long")
    assert verdict.action is Action.BLOCK
    assert verdict.segments.count > 2
    assert "[bad]" in text[verdict.segments.start : verdict.segments.end]
    assert verdict.categories
    assert bench.outlet.verdict("p1").segments.count == 1
    assert bench.acknowledged == [0, 1]


async def test_a_long_post_is_allowed_only_if_every_segment_is() -> None:
    bench = Bench(profile=LONG)
    await bench.run([{"id": "long", "text": FILLER}])
    verdict = bench.outlet.verdict("long")
    assert verdict.action is Action.ALLOW
    assert verdict.segments.count > 2


@pytest.mark.parametrize(("mode", "action"), [("review", "review"), ("block", "block"), ("allow", "allow")])
async def test_one_segment_that_fails_keeps_a_long_post_from_reading_as_judged(
    mode: str, action: str
) -> None:
    engine = FakeEngine(LONG, faults=Faults(error=Fault(marker="odd one out")))
    policy = {"name": "p", "version": "1", "tenants": {"default": {"rules": {"failure_mode": mode}}}}
    bench = Bench(engine=engine, profile=LONG, policy=policy)
    await bench.run([{"id": "long", "text": FILLER + "[good] The odd one out. "}])
    verdict = bench.outlet.verdict("long")
    assert verdict.failure is not None
    assert verdict.failure.code is FailureCode.ENGINE_ERROR
    assert verdict.action.value == action
    assert bench.acknowledged == [0]


async def test_copies_of_a_long_post_are_answered_from_its_segments() -> None:
    engine = ScriptedEngine(LONG)
    bench = Bench(engine=engine, profile=LONG)
    await bench.run([{"id": "a", "text": FILLER}, {"id": "b", "text": FILLER}])
    assert sum(engine.scored) == bench.outlet.verdict("a").segments.count
    assert bench.outlet.verdict("b").action is Action.ALLOW
    assert bench.acknowledged == [0, 1]


async def test_scores_that_another_posts_segment_left_behind_are_told_as_reused() -> None:
    engine = ScriptedEngine(LONG)
    policy = {"name": "two", "version": "1", "tenants": {"keen": {"rules": {"explain_at": 0.0}}}}
    bench = Bench(engine=engine, profile=LONG, policy=policy)
    # The first half stays unanswered while its segments are stored: the second needs explanations on top.
    await bench.run([{"id": "a", "text": FILLER}, {"id": "b", "text": FILLER, "tenant": "keen"}])
    assert sum(engine.scored) == bench.outlet.verdict("a").segments.count
    assert bench.outlet.verdict("a").assessed_by is AssessedBy.ENGINE
    assert bench.outlet.verdict("b").assessed_by is AssessedBy.CACHE


async def test_a_tenant_that_waits_no_longer_is_answered_once_for_a_post_of_many_segments() -> None:
    engine = ScriptedEngine(LONG)
    engine.away = 6
    policy = {"name": "p", "version": "1", "rules": {"max_wait_seconds": 0.1}}
    bench = Bench(engine=engine, profile=LONG, policy=policy)
    await bench.run([{"id": "long", "text": FILLER}])
    (verdict,) = bench.outlet.verdicts
    assert verdict.failure is not None
    assert verdict.failure.code is FailureCode.ENGINE_UNAVAILABLE
    assert bench.acknowledged == [0]


async def test_what_was_cut_from_a_long_context_is_told() -> None:
    bench = Bench(profile=LONG)
    context = "[good] old words. " * 100
    await bench.run([{"id": "r", "text": "[good] an answer", "kind": "response", "context": context}])
    segments = bench.outlet.verdict("r").segments
    assert segments.count == 1
    assert segments.context_cut_characters > 500


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
        await bench.flow.run(source())
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

    await bench.flow.run(source())
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

    monkeypatch.setattr("sluicegate.pipeline.answers.decide", breaks)
    bench = Bench(profile=RULES)
    await bench.run([post(0), post(1), post(2)])
    failed = {verdict.post_id: verdict.failure for verdict in bench.outlet.verdicts if verdict.failure}
    assert {name: failure.code for name, failure in failed.items()} == {"p1": FailureCode.INTERNAL}
    assert bench.acknowledged == [0, 1, 2]
