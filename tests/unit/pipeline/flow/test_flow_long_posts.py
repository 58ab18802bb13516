"""Posts of several segments, through the flow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.protocol import Scored
from sluicegate.engines.text.prompting import Passage
from sluicegate.schemas import Action, AssessedBy, FailureCode, Scores
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.protocol import ItemFailure, Prompt


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


async def test_each_part_that_is_found_counts_as_progress_of_its_post() -> None:
    moved: list[float] = []

    class Looking(ScriptedEngine):
        async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
            moved.extend(slot.moved_at for row in bench.window._rows.values() for slot in row)
            return await super().score(prompts, timeout_s=timeout_s)

    tree = {"micro_batch": {"posts": 1, "in_flight": 1}}
    bench = Bench(engine=Looking(LONG), profile=LONG, tree=tree)
    await bench.run([{"id": "long", "text": FILLER}])
    assert len(moved) > 2
    assert moved == sorted(set(moved))


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


class Marked:
    """Finds what stands between two signs."""

    def riskiest(self, text: str) -> list[Passage]:
        first, end = text.find("<"), text.find(">")
        return [Passage(first, end + 1)] if end > first >= 0 else []


class Overlooking(FakeEngine):
    """A model that finds something harmful only in short texts."""

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        found = await super().score(prompts, timeout_s=timeout_s)
        return [
            replace(one, scores=Scores(safe=1.0, controversial=0.0, unsafe=0.0))
            if isinstance(one, Scored) and prompt.content[1] - prompt.content[0] > 20
            else one
            for prompt, one in zip(prompts, found, strict=True)
        ]


async def test_what_a_model_overlooks_in_a_long_text_is_judged_apart_and_told() -> None:
    profile = FakeProfile(rules=RULES.rules)
    text = "[good] something harmless <[bad] words> [good] something harmless"
    bench = Bench(engine=Overlooking(profile), profile=profile, passages=Marked())
    await bench.run(
        [{"id": "padded", "text": text}, {"id": "plain", "text": text.replace("[bad]", "[good]")}]
    )
    verdict = bench.outlet.verdict("padded")
    assert verdict.action is Action.BLOCK
    assert text[verdict.segments.start : verdict.segments.end] == "<[bad] words>"
    assert (verdict.segments.count, verdict.segments.deciding) == (2, 1)
    assert bench.outlet.verdict("plain").action is Action.ALLOW


async def test_a_passage_that_the_model_doubts_too_little_does_not_decide() -> None:
    class Doubted(Marked):
        def riskiest(self, text: str) -> list[Passage]:
            return [one._replace(least_unsafe=1.0) for one in super().riskiest(text)]

    profile = FakeProfile(rules=RULES.rules)
    text = "[good] something harmless <[bad] words> [good] something harmless"
    bench = Bench(engine=Overlooking(profile), profile=profile, passages=Doubted())
    await bench.run([{"id": "padded", "text": text}])
    verdict = bench.outlet.verdict("padded")
    assert (verdict.action, verdict.segments.count, verdict.segments.deciding) == (Action.ALLOW, 2, 0)


async def test_a_fault_in_finding_passages_costs_no_post_its_judgement() -> None:
    class Broken:
        def riskiest(self, text: str) -> list[Passage]:
            raise ValueError(len(text))

    profile = FakeProfile(rules=RULES.rules)
    bench = Bench(profile=profile, passages=Broken(), tree={"limits": {"folded_forms": False}})
    await bench.run([{"id": "a", "text": "[bad] words"}, {"id": "b", "text": "[good] words"}])
    assert bench.outlet.verdict("a").action is Action.BLOCK
    assert bench.outlet.verdict("b").action is Action.ALLOW
    assert bench.outlet.verdict("b").failure is None
