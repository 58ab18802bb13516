"""The screen in the path of a post: what it answers, what the engine judges all the same, and what a fault costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, Post, content_hash
from support.scripted_screen import DIGEST, ScriptedScreen
from unit.pipeline.fakes import Bench, singly
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.pipeline.facts import ScreenFact

POLICY = {"name": "p", "version": "1", "rules": {"screen": {"tolerance": 0.01}}}
TOLERATES_NONE: dict[str, Any] = {
    "name": "p",
    "version": "1",
    "rules": {"screen": {"tolerance": 0.0}},
}
NEVER = {"screen": {"sample_share": 0}}
ALWAYS = {"screen": {"sample_share": 1}}


def bench(
    tree: dict[str, Any] | None = None,
    policy: dict[str, Any] | None = None,
    screen: ScriptedScreen | None = None,
    **more: Any,
) -> Bench:
    return Bench(
        profile=RULES,
        engine=ScriptedEngine(),
        tree=tree or NEVER,
        policy=policy or POLICY,
        screen=screen or ScriptedScreen(),
        **more,
    )


async def in_turns(
    stand: Bench, *turns: list[dict[str, Any]], between: Callable[[], None] = lambda: None
) -> None:
    """Carry posts, each turn once the one before it is answered."""

    async def source() -> Any:
        offset = 0
        for turn in turns:
            for value in turn:
                yield stand.delivery(value, offset)
                offset += 1
            while stand.window.posts:
                await asyncio.sleep(0.001)
            between()

    async with asyncio.timeout(20):
        await stand.flow.run(singly(source()))


def asked(stand: Bench) -> int:
    engine = stand.engine
    assert isinstance(engine, ScriptedEngine)
    return sum(engine.scored)


async def test_it_answers_what_it_is_sure_of_and_the_engine_the_rest() -> None:
    stand = bench()
    await stand.run(
        [post(0, "easy"), post(1, "[good]"), post(2, "nasty [bad]"), post(3, "easy", tenant="forum")]
    )
    verdict = stand.outlet.verdict("p0")
    assert (verdict.assessed_by, verdict.action, verdict.severity) == (
        AssessedBy.SCREEN,
        Action.ALLOW,
        "safe",
    )
    assert (verdict.engine.digest, verdict.engine.backend) == (DIGEST, "screen")
    assert verdict.engine.calibrated
    assert (verdict.scores and verdict.scores.safe, verdict.reused_from) == (0.98, None)
    assert stand.outlet.verdict("p1").assessed_by is AssessedBy.ENGINE
    assert (stand.outlet.verdict("p2").assessed_by, stand.outlet.verdict("p2").action) == (
        AssessedBy.ENGINE,
        "block",
    )
    assert asked(stand) == 2
    assert stand.acknowledged == [0, 1, 2, 3]
    assert stand.metric("verdicts_total", tenant="default", action="allow", assessed_by="screen") == 1


async def test_without_a_word_of_the_policy_nothing_is_asked_of_it() -> None:
    screen = ScriptedScreen()
    stand = bench(policy={"name": "p", "version": "1"}, screen=screen)
    await stand.run([post(0, "easy")])
    assert screen.asked == []
    assert stand.outlet.verdict("p0").assessed_by is AssessedBy.ENGINE


async def test_a_block_of_the_screen_counts_in_the_breaker() -> None:
    rules = {"screen": {"tolerance": 0.01, "may_block": True}, "block_breaker": {"share": None, "count": 1}}
    stand = bench(policy={"name": "p", "version": "1", "rules": rules})
    await stand.run([post(number, "nasty") for number in range(3)])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.SCREEN}
    assert [one.action for one in stand.outlet.verdicts] == ["block", "review", "review"]
    assert len({one.verdict_id for one in stand.outlet.verdicts}) == 3


async def test_a_repeat_has_the_same_id_and_another_action_another_one() -> None:
    first, again = bench(), bench()
    await first.run([post(0, "easy [bad]")])
    await again.run([post(0, "easy [bad]")])
    one, other = first.outlet.verdict("p0"), again.outlet.verdict("p0")
    assert one.verdict_id == other.verdict_id
    judged = bench(ALWAYS)
    await judged.run([post(0, "easy [bad]")])
    assert judged.outlet.verdict("p0").action is Action.BLOCK
    assert judged.outlet.verdict("p0").verdict_id != one.verdict_id


async def test_a_sample_is_judged_and_published_by_the_engine_and_compared() -> None:
    stand = bench(ALWAYS)
    await stand.run([post(0, "easy [good]"), post(1, "easy [bad]"), post(2, "hello [good]")])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert stand.metric("screen_samples_total", screen="allow", engine="allow") == 1
    assert stand.metric("screen_samples_total", screen="allow", engine="block") == 1


async def test_a_share_is_sampled_by_content_alone() -> None:
    stand = bench({"screen": {"sample_share": 0.5}})
    await stand.run([post(number, "easy") for number in range(60)])
    by_engine = {one.content_hash for one in stand.outlet.verdicts if one.assessed_by is AssessedBy.ENGINE}
    hashes = {content_hash(Post(**post(number, "easy"))) for number in range(60)}
    assert by_engine == {one for one in hashes if int(one.removeprefix("sha256:")[:16], 16) < 2**63}
    assert 15 < len(by_engine) < 45


async def test_a_sample_is_judged_for_its_own_sake_though_a_near_duplicate_is_known() -> None:
    near = {"cache": {"near_duplicates": {"enabled": True}}}
    text = "[good] easy as the library that opens at nine"
    stand = bench(ALWAYS | near)
    await stand.run([{"id": "p0", "text": text}, {"id": "p1", "text": text + "!" * 9}])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert stand.metric("screen_samples_total", screen="allow", engine="allow") == 2


async def test_what_the_screen_found_is_kept_for_no_other_post() -> None:
    stand = bench()
    await stand.run([post(0, "easy"), post(1, "easy"), {"id": "same", "text": "easy 0"}])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.SCREEN}
    assert {one.reused_from for one in stand.outlet.verdicts} == {None}
    assert len(stand.flow.cache) == 0


async def test_what_the_engine_found_before_comes_first() -> None:
    screen = ScriptedScreen()
    stand = bench(screen=screen)
    screen.fault = ValueError("not today")

    def mend() -> None:
        screen.fault = None

    await in_turns(stand, [post(0, "easy [bad]")], [{"id": "copy", "text": "easy [bad] 0"}], between=mend)
    copy = stand.outlet.verdict("copy")
    assert (copy.assessed_by, copy.action) == (AssessedBy.CACHE, Action.BLOCK)


async def test_what_the_engine_found_of_the_folded_form_comes_first_too() -> None:
    screen = ScriptedScreen()
    first = {"id": "first", "text": "[bad] words, so very easy"}
    screen.fault = ValueError("not today")

    def mend() -> None:
        screen.fault = None

    stand = bench(screen=screen)
    disguised = {"id": "copy", "text": "[\u0432ad] words, so very easy"}
    await in_turns(stand, [first], [disguised], between=mend)
    assert stand.outlet.verdict("copy").action is Action.BLOCK


async def test_a_screen_that_is_switched_off_while_it_is_asked_answers_nothing() -> None:
    class Late(ScriptedScreen):
        def answers(self, posts: Any) -> Any:
            stand.flow.switch.follow(followed=False)
            return super().answers(posts)

    stand = bench(screen=Late())
    await stand.run([post(0, "easy")])
    assert stand.outlet.verdict("p0").assessed_by is AssessedBy.ENGINE


async def test_a_fault_of_the_screen_costs_no_post_its_judgement() -> None:
    screen = ScriptedScreen()
    screen.fault = ValueError("easy secret")
    stand = bench(screen=screen)
    with structlog.testing.capture_logs() as logs:
        await stand.run([post(0, "easy secret"), post(1, "easy [bad]")])
    assert [stand.outlet.verdict(name).action for name in ("p0", "p1")] == ["allow", "block"]
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert stand.metric("screen_faults_total") >= 1
    assert any(line["event"] == "screen_fault" for line in logs)
    assert "secret" not in str(logs)


async def test_a_screen_that_loses_an_answer_answers_none() -> None:
    class Short(ScriptedScreen):
        def answers(self, posts: Any) -> Any:
            return super().answers(posts)[1:]

    stand = bench(screen=Short())
    await stand.run([post(0, "easy"), post(1, "easy")])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}


async def test_one_that_is_wrong_too_often_is_switched_off_and_told_of() -> None:
    stand = bench(ALWAYS)
    told: list[ScreenFact] = []
    stand.flow.switch.announce_to(told.append)
    wrong = [post(number, "easy [bad]") for number in range(40)]
    await in_turns(stand, wrong, [post(99, "easy but other")])
    assert stand.flow.switch.is_off(DIGEST)
    (turn,) = told
    assert (turn.screen, turn.state, turn.generation) == (DIGEST, "open", 0)
    assert "sampled answers (allow); tolerated 0.01" in turn.why
    assert stand.metric("screen_off") == 1
    assert stand.outlet.verdict("p99").assessed_by is AssessedBy.ENGINE


async def test_a_policy_that_changes_under_a_sample_throws_no_switch() -> None:
    stand = bench(ALWAYS, TOLERATES_NONE, ScriptedScreen(error=0.0))
    engine = stand.engine
    assert isinstance(engine, ScriptedEngine)
    strict = {**TOLERATES_NONE["rules"], "review_at": {"unsafe": 0.0}}
    stricter = Policy.parse({"name": "p", "version": "2", "rules": strict})
    score = engine.score

    async def change_then_score(*given: Any, **named: Any) -> Any:
        stand.policy = stricter
        return await score(*given, **named)

    engine.score = change_then_score  # type: ignore[method-assign] # while it is asked
    await stand.run([post(0, "easy [good]")])
    assert stand.outlet.verdict("p0").action is Action.REVIEW
    assert not stand.flow.switch.is_off(DIGEST)
