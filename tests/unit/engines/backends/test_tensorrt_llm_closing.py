"""Calls that end in another way than by their answer: closed under them, or cancelled by the runtime; over a STAND-IN."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from conformance.brain import Brain
from conformance.stand_in import StandIn
from sluicegate.engines.backends import Backend, EngineChoice, open_backend
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.schemas import FailureCode, Post
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT_END_S = 20.0


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(Brain())
    with made.installed(tmp_path / "site"):
        yield made
    assert made.disagreements == []
    assert made.unsettled() == []


@pytest.fixture(params=["engine", "pytorch"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    bundle = write_trtllm_bundle(tmp_path / "bundle", request.param)
    return open_backend(EngineChoice("tensorrt_llm", bundle=bundle))


def prompts(backend: Backend, text: str, count: int = 1) -> list[Prompt]:
    built = [backend.prompter.build(Post(id="p", text=f"{text} {number}")) for number in range(count)]
    return [prompt for prompt in built if isinstance(prompt, Prompt)]


async def in_work(stand_in: StandIn, count: int) -> None:
    while len(stand_in.unsettled()) < count:
        await asyncio.sleep(0.001)


async def test_whoever_waits_when_the_engine_is_left_is_told_and_its_requests_are_aborted_first(
    stand_in: StandIn, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_at_shutdown: list[int] = []
    async with asyncio.timeout(PROMPT_END_S):
        async with backend.engine as engine:
            monkeypatch.setattr(
                type(stand_in.llms[0]),
                "_shutdown",
                lambda _: open_at_shutdown.append(len(stand_in.unsettled())),
            )
            stand_in.brain.faults["hang"] = None
            before = len(stand_in.requests)
            calls = [
                asyncio.create_task(engine.score(prompts(backend, "a", 20), timeout_s=3600)),
                asyncio.create_task(engine.explain(prompts(backend, "b"), ["unsafe"], timeout_s=3600)),
            ]
            await in_work(stand_in, 16)
        for call in calls:
            with pytest.raises(EngineUnavailable):
                await call
    assert open_at_shutdown == [0]
    assert len(stand_in.requests) - before == 16  # who waited for a place was not let in


async def test_a_question_for_health_that_is_open_when_the_engine_is_left_is_answered(
    stand_in: StandIn, backend: Backend
) -> None:
    async with backend.engine as engine:
        stand_in.brain.faults["hang"] = None
        question = asyncio.create_task(engine.health())
        await in_work(stand_in, 1)
    health = await question
    assert (health.ok, health.silent) == (False, False)


async def test_an_item_that_failed_just_before_the_engine_is_left_is_not_blamed_and_not_lost(
    stand_in: StandIn, backend: Backend
) -> None:
    async with backend.engine as engine:
        before = len(stand_in.requests)
        stand_in.brain.faults |= {"error": "secret", "hang": "Hello"}  # our own says Hello
        call = asyncio.create_task(engine.score(prompts(backend, "secret"), timeout_s=3600))
        while len(stand_in.requests) < before + 2:  # the item has failed, and our own prompt is asked
            await asyncio.sleep(0.001)
    with pytest.raises(EngineUnavailable):
        await call


async def test_a_request_that_the_runtime_cancels_is_a_fault_and_no_cancelled_call(
    stand_in: StandIn, backend: Backend
) -> None:
    async with backend.engine as engine:
        stand_in.brain.faults["hang"] = "slow"
        asked = [*prompts(backend, "slow"), *prompts(backend, "quick")]
        call = asyncio.create_task(engine.score(asked, timeout_s=3600))
        await in_work(stand_in, 2)
        (stuck,) = [one for one in stand_in.requests if one._ids == list(asked[0].token_ids)]
        stuck._task.cancel()
        slow, quick = await call
        assert isinstance(slow, ItemFailure)
        assert (slow.code, slow.detail) == (FailureCode.ENGINE_ERROR, "CancelledError")
        assert isinstance(quick, Scored)
