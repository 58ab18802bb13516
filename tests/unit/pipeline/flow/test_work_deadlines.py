"""Deadlines beside an engine at work: what it has said already is never lost with the rest of the post."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeProfile
from sluicegate.schemas import Action, FailureCode
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_S, EXPLAIN_S = 0.2, 0.8


class Thoughtful(ScriptedEngine):
    """Scores at once, and thinks for longer than the tenant waits about what it is to explain."""

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
    ) -> list[Any]:
        if prompts:
            await asyncio.sleep(EXPLAIN_S)
        return await super().explain(prompts, severities, timeout_s=timeout_s, texts=texts)


def bench(profile: FakeProfile, mode: str, **tree: Any) -> Bench:
    rules = {"max_wait_seconds": WAIT_S, "failure_mode": mode}
    policy = {"name": "p", "version": "1", "tenants": {"default": {"rules": rules}}}
    return Bench(engine=Thoughtful(profile), profile=profile, policy=policy, tree=tree)


@pytest.mark.parametrize("mode", ["allow", "review"])
async def test_a_disguised_post_whose_folded_form_is_explained_just_then_is_blocked(mode: str) -> None:
    stand = bench(FakeProfile(rules={"k1ll you": "safe", "kill you": "unsafe"}), mode)
    await stand.run([{"id": "p", "text": "I will k1ll you"}])
    verdict = stand.outlet.verdict("p")
    assert (verdict.action, verdict.form, verdict.failure) == (Action.BLOCK, "folded", None)
    assert verdict.explanation_failure is None


async def test_a_part_that_is_scored_decides_though_others_are_given_up_while_it_is_explained() -> None:
    profile = FakeProfile(max_prompt_tokens=600, rules={"[bad]": "unsafe", "[good]": "safe"})
    stand = bench(profile, "allow", micro_batch={"posts": 1, "in_flight": 1})
    await stand.run([{"id": "p", "text": "[bad] Quite another one. " + "[good] An ordinary sentence. " * 60}])
    verdict = stand.outlet.verdict("p")
    assert verdict.segments.count > 1
    assert (verdict.action, verdict.failure) == (Action.BLOCK, None)
    assert verdict.explanation_failure == FailureCode.OVERLOAD
