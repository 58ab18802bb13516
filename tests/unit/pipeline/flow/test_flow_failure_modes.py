"""Every way in which a post cannot be scored, with every failure mode, for tenants the policy names and for strangers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, Fault, Faults
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Health, ItemFailure, Scored
from sluicegate.schemas import Action, AssessedBy, FailureCode
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.engines.protocol import Engine
    from sluicegate.schemas import Verdict

MODES = ("review", "block", "allow")
HASTY = {"max_wait_seconds": 0.1}
ALONE = {"micro_batch": {"posts": 1, "in_flight": 1}}


class Nobody(ScriptedEngine):
    """Never there."""

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
        raise EngineUnavailable("nobody answers")

    async def health(self) -> Health:
        return Health(ok=False)


def switched(name: str) -> Engine:
    return FakeEngine(faults=Faults(**{name: Fault(marker="victim")}))


def killed() -> Engine:
    engine = ScriptedEngine()
    engine.killer = "victim"
    return engine


def faulty() -> Engine:
    engine = ScriptedEngine()
    engine.fault = ValueError("the text of a post")
    return engine


def slow() -> Engine:
    return FakeEngine(FakeProfile(call_overhead_s=0.6))


WAYS: dict[FailureCode, tuple[Callable[[], Engine], dict[str, Any], dict[str, Any]]] = {
    FailureCode.TOO_LONG: (FakeEngine, {}, {"limits": {"post_tokens": 20}}),
    FailureCode.TIMED_OUT: (lambda: switched("hang"), {}, {"engine": {"score_timeout_s": 0.1}}),
    FailureCode.UNPARSABLE: (lambda: switched("garble"), {}, {}),
    FailureCode.EMPTY_COMPLETION: (lambda: switched("empty"), {}, {}),
    FailureCode.LABELS_MISSING: (lambda: switched("labels_missing"), {}, {}),
    FailureCode.ENGINE_ERROR: (lambda: switched("error"), {}, {}),
    FailureCode.ENGINE_CRASH: (killed, {}, {}),
    FailureCode.ENGINE_UNAVAILABLE: (Nobody, HASTY, {}),
    FailureCode.OVERLOAD: (slow, HASTY, ALONE),
    FailureCode.INTERNAL: (faulty, {}, {}),
}
"""Code to an engine, rules for everybody, and settings that bring it about for posts with the word victim."""


def test_the_table_has_every_code() -> None:
    assert set(WAYS) == set(FailureCode)


def policy_of(mode: str, rules: dict[str, Any]) -> dict[str, Any]:
    """The named tenant has the mode; so has everybody, unless it is failing open, which nobody can ask for all."""
    everybody = {} if mode == "allow" else {"failure_mode": mode}
    document = {
        "name": "p",
        "version": "1",
        "rules": rules | everybody,
        "tenants": {"named": {"rules": {"failure_mode": mode}}},
    }
    if not document["rules"]:
        del document["rules"]
    return document


def assert_failed(verdict: Verdict, code: FailureCode, action: Action) -> None:
    assert verdict.action is action
    assert verdict.failure is not None
    assert verdict.failure.code is code
    assert verdict.failure.mode is action
    assert verdict.policy.rule == "failure_mode"
    assert verdict.assessed_by is AssessedBy.NONE
    assert verdict.scores is None
    assert verdict.severity is None
    assert verdict.categories == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", WAYS)
async def test_a_post_that_cannot_be_scored_gets_its_tenants_failure_mode_and_never_an_allow_nobody_chose(
    code: FailureCode, mode: str
) -> None:
    make, rules, tree = WAYS[code]
    bench = Bench(engine=make(), policy=policy_of(mode, rules), tree=tree)
    victims = [
        {"id": "known", "text": "victim, one of two", "tenant": "named"},
        {"id": "unknown", "text": "victim, two of two", "tenant": "stranger"},
    ]
    first = [{"id": "first", "text": "in hand"}] if code is FailureCode.OVERLOAD else []
    if code is FailureCode.TOO_LONG:
        victims = [post | {"text": post["text"] + " and so on" * 9} for post in victims]
    await bench.run([*first, *victims])
    assert_failed(bench.outlet.verdict("known"), code, Action(mode))
    assert_failed(bench.outlet.verdict("unknown"), code, Action("review" if mode == "allow" else mode))
    assert bench.metric("failures_total", tenant="named", code=code.value, mode=mode) == 1
    assert len(bench.flow.cache) == len(first)  # a failure is never reused
    assert bench.acknowledged == list(range(len(first) + 2))
