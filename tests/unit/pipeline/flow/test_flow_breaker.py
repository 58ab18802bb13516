"""The block-volume breaker in the path of a post: which verdicts it changes, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.pipeline.command.verdicts import chinese_lines, human_line
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, Post, Verdict, encode
from unit.pipeline.fakes import Bench, singly
from unit.pipeline.flow.test_breaker import closed
from unit.pipeline.scripted import RULES, post

if TYPE_CHECKING:
    from sluicegate.pipeline.facts import BreakerFact


def policy(count: int = 2, **rules: Any) -> dict[str, Any]:
    breaker = {"share": None, "count": count}
    return {"name": "p", "version": "1", "rules": {"block_breaker": breaker, **rules}}


def actions(bench: Bench) -> list[str]:
    by_number = sorted(bench.outlet.verdicts, key=lambda one: int(one.post_id[1:]))
    return [one.action.value for one in by_number]


async def test_further_blocks_become_review_and_say_what_they_were() -> None:
    dispositions = {"review": {"name": "hold_for", "hours": 4}, "block": {"name": "rate_limit", "posts": 2}}
    bench = Bench(profile=RULES, policy=policy(dispositions=dispositions))
    await bench.run([post(number, "[bad]") for number in range(4)] + [post(4), post(5, "[odd]")])
    assert sorted(actions(bench)) == ["allow", "block", "block", "review", "review", "review"]
    withheld = [verdict for verdict in bench.outlet.verdicts if verdict.breaker]
    assert len(withheld) == 2
    for verdict in withheld:
        assert verdict.breaker is not None
        assert (verdict.action, verdict.disposition) == (Action.REVIEW, "hold_for")
        assert verdict.disposition_parameters == {"hours": 4}
        assert (verdict.breaker.action, verdict.breaker.disposition) == (Action.BLOCK, "rate_limit")
        assert verdict.breaker.disposition_parameters == {"posts": 2}
        assert verdict.policy.rule == "block_at.unsafe>=0.8"  # the rule that fired, as ever
        assert verdict.severity == "unsafe"
        assert verdict.outcome == "breaker"
        assert Verdict.model_validate_json(encode(verdict)) == verdict
    topics = {
        record.topic for record in bench.outlet.records if record.value in {encode(one) for one in withheld}
    }
    assert topics == {"verdicts.review"}
    assert bench.acknowledged == list(range(6))
    assert bench.metric("block_breaker_withheld_total", tenant="default") == 2
    assert bench.metric("block_breaker_open", tenant="default") == 1


async def test_a_withheld_block_has_another_id_than_the_block() -> None:
    first, second = Bench(profile=RULES, policy=policy(5)), Bench(profile=RULES, policy=policy(5))
    await first.run([post(0, "[bad]")])
    while (
        second.flow.breaker.admit(
            "default",
            second.policy.rules(Post(id="x", text="x")).block_breaker,
            second.policy.digest,
            blocked=True,
        )
        is None
    ):
        pass
    await second.run([post(0, "[bad]")])
    block, withheld = first.outlet.verdict("p0"), second.outlet.verdict("p0")
    assert (block.action, withheld.action) == (Action.BLOCK, Action.REVIEW)
    assert block.verdict_id != withheld.verdict_id
    assert block.policy.digest == withheld.policy.digest


async def test_a_reset_lets_the_next_block_through() -> None:
    bench = Bench(profile=RULES, policy=policy())
    told: list[BreakerFact] = []
    bench.flow.breaker.announce_to(told.append)

    async def source() -> Any:
        for number in range(6):
            if number == 4:
                while len(bench.acknowledged) < 4:
                    await bench.instruments.clock.sleep(0.01)
                bench.flow.breaker.learn([closed(told[0])])
            yield bench.delivery(post(number, "[bad]"), number)

    await bench.flow.run(singly(source()))
    assert actions(bench)[4:] == ["block", "block"]
    assert actions(bench).count("review") == 2


async def test_a_failure_mode_counts_as_nothing_and_is_never_withheld() -> None:
    failing = Bench(
        engine=FakeEngine(RULES, faults=Faults(error=Fault())), policy=policy(0, failure_mode="block")
    )
    await failing.run([post(number) for number in range(5)])
    assert actions(failing) == ["block"] * 5
    assert all(verdict.failure and not verdict.breaker for verdict in failing.outlet.verdicts)
    assert failing.flow.breaker.open == {}


async def test_a_long_post_is_decided_by_its_worst_part_and_counts_once() -> None:
    long = FakeProfile(max_prompt_tokens=600, rules=RULES.rules)
    filler = "[good] An ordinary sentence. " * 60
    bench = Bench(profile=long, policy=policy(1))
    texts = (f"{filler}[bad]", f"[bad]{filler}")
    await bench.run([{"id": f"p{number}", "text": text} for number, text in enumerate(texts)])
    first, second = sorted(bench.outlet.verdicts, key=lambda one: one.breaker is not None)
    assert first.segments.count > 1
    assert (first.action, second.action) == (Action.BLOCK, Action.REVIEW)
    assert second.breaker is not None
    assert second.segments.count > 1


async def test_the_disposition_of_review_is_that_of_the_category_that_decided() -> None:
    found = Policy.parse(
        {
            "name": "p",
            "version": "1",
            "rules": {
                "categories": {
                    "PII": {"block_at": {"unsafe": 0.1}, "dispositions": {"review": "call_officer"}}
                }
            },
        }
    )
    bench = Bench(profile=RULES, policy=policy(0))
    await bench.run([post(0, "[bad]")])
    said = {"categories": ("PII",), "category_scores": {}, "explained_by": "text"}
    verdict = bench.outlet.verdict("p0").model_copy(update=said)
    assert verdict.scores is not None
    assert found.decide(verdict, verdict.scores, verdict).rule == "categories.PII.block_at.unsafe>=0.1"
    withheld = found.withhold(verdict, verdict.scores, verdict)
    assert (withheld.action, withheld.disposition) == (Action.REVIEW, "call_officer")
    assert withheld.rule == "categories.PII.block_at.unsafe>=0.1"


async def test_only_a_judged_review_may_carry_a_withheld_block() -> None:
    bench = Bench(profile=RULES, policy=policy(0))
    await bench.run([post(0, "[bad]")])
    document = bench.outlet.verdict("p0").model_dump()
    failure = {"code": "timed_out", "mode": "review"}
    for wrong in (
        {"action": "allow"},
        {"action": "block"},
        {"failure": failure, "scores": None, "severity": None, "assessed_by": "none"},
    ):
        with pytest.raises(ValidationError, match="withholds blocks that were judged"):
            Verdict.model_validate(document | wrong)


async def test_people_see_that_a_block_was_withheld() -> None:
    bench = Bench(profile=RULES, policy=policy(0))
    await bench.run([post(0, "[bad]"), post(1)])
    withheld, plain = bench.outlet.verdict("p0"), bench.outlet.verdict("p1")
    assert "breaker: block_at.unsafe>=0.8" in human_line(withheld)
    assert "breaker" not in human_line(plain)
    assert "熔断" in chinese_lines(withheld).splitlines()[0]
    assert "熔断" not in chinese_lines(plain)


def test_the_tables_of_the_policy_decide_per_tenant() -> None:
    found = Policy.parse(
        {
            "name": "p",
            "version": "1",
            "rules": {"block_breaker": {"count": 5000}},
            "tenants": {"teens": {"rules": {"block_breaker": {"share": None}}}},
        }
    )
    teens = found.rules(Post(id="x", text="x", tenant="teens")).block_breaker
    everybody = found.rules(Post(id="x", text="x", tenant="nobody-knows")).block_breaker
    assert (teens.share, teens.count, teens.interval_seconds) == (None, 5000, 300.0)
    assert (everybody.share, everybody.count, everybody.least_posts) == (0.5, 5000, 1000)
