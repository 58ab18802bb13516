"""The merged guard on a real vLLM: the contract, agreement with llama.cpp, the cache, the grammar, aborts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from contract.engine_contract import TIMEOUT_S, Rig, assert_works, scored, some_prompts
from sluicegate.engines.backends import open_backend
from sluicegate.engines.backends.dialects import VllmDialect
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Explanation, ItemFailure
from sluicegate.schemas import FailureCode
from vllm_cpu.real_vllm import RealVllm, assert_kept_in_shape, choice, compare, open_rig, padded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sluicegate.schemas import Scores
    from vllm_cpu.server import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.cpu_model, pytest.mark.timeout(1800)]

MOST_DIFFERENT = 0.1
"""Of a probability. llama.cpp rounds what goes through its layers to 8 bits, and vLLM computes in float32."""
BLOCK_TOKENS = 32
"""On a processor vLLM's blocks are a multiple of this."""
WORK_S = 60.0

RUNNING, WAITING = VllmDialect.gauges
FINISHED = "vllm:request_success_total"
_FORCED_TOKENS = 6
"""The label and the head of the categories that follow a prompt which is explained, at most."""


@pytest.fixture(name="rig")
async def guard_rig(guard: VllmServer, guard_bundle: Path) -> AsyncIterator[Rig]:
    async with open_rig(guard, guard_bundle) as found:
        yield found


class TestGuard(RealVllm):
    @pytest.fixture
    async def rig(self, guard: VllmServer, guard_bundle: Path) -> AsyncIterator[Rig]:
        async with open_rig(guard, guard_bundle) as found:
            yield found


async def test_it_agrees_with_llama_cpp_on_100_texts(
    guard: VllmServer,
    guard_bundle: Path,
    llama_scores: list[Scores | None],
    record_property: Callable[[str, object], None],
) -> None:
    found = await compare(open_backend(choice(guard, guard_bundle)), llama_scores)
    record_property("merged guard, worst difference", round(found.any_max, 4))
    record_property("mean of each text's worst", round(found.any_mean, 4))
    record_property("texts whose label differs", found.flips)
    assert found.any_max < MOST_DIFFERENT
    assert found.spread > 2 * found.any_mean  # or agreement would prove nothing


async def test_cached_tokens_are_told_in_whole_blocks(rig: Rig) -> None:
    prompt = rig.prompt("The harbour lies quiet tonight, and the boats rest side by side. " * 5)
    (before,) = scored(await rig.engine.score([prompt], timeout_s=TIMEOUT_S))
    (after,) = scored(await rig.engine.score([prompt], timeout_s=TIMEOUT_S))
    assert before.cached_tokens < after.cached_tokens < len(prompt.token_ids)
    assert after.cached_tokens == (len(prompt.token_ids) - 1) // BLOCK_TOKENS * BLOCK_TOKENS


async def test_the_grammar_keeps_explanations_in_shape(rig: Rig) -> None:
    await assert_kept_in_shape(rig)


async def test_every_category_has_a_score(rig: Rig) -> None:
    (answer,) = await rig.engine.explain([rig.prompt("I will hurt you")], ["unsafe"], timeout_s=TIMEOUT_S)
    assert isinstance(answer, Explanation)
    assert set(answer.category_scores) == {*rig.categories, "None"}
    assert answer.reason


async def test_the_servers_own_limit_is_too_long(guard: VllmServer, cpu_bundle: Path) -> None:
    """Opened by the bundle for llama.cpp, which has the same tokens and admits longer prompts."""
    backend = open_backend(choice(guard, cpu_bundle))
    async with backend.engine as engine:
        rig = Rig(engine, backend.prompter, backend.categories)
        for tokens in (guard.most_tokens, guard.most_tokens + 1, guard.most_tokens + 200):
            long = padded(rig.prompt("long"), tokens)
            first, second = await engine.score([long, rig.prompt("short")], timeout_s=TIMEOUT_S)
            assert isinstance(first, ItemFailure)
            assert first.code is FailureCode.TOO_LONG
            scored([second])
        nearly = padded(rig.prompt("long"), guard.most_tokens - _FORCED_TOKENS - 1)
        scored(await engine.score([nearly], timeout_s=TIMEOUT_S))
        (cut,) = await engine.explain([nearly], ["unsafe"], timeout_s=TIMEOUT_S)
        assert isinstance(cut, ItemFailure)
        assert cut.code is FailureCode.TOO_LONG


async def test_an_abandoned_call_leaves_the_servers_work(guard: VllmServer, rig: Rig) -> None:
    before = guard.metric(FINISHED)
    prompts = some_prompts(rig) * 4
    call = asyncio.create_task(rig.engine.explain(prompts, ["unsafe"] * len(prompts), timeout_s=TIMEOUT_S))
    async with asyncio.timeout(WORK_S):
        while not guard.metric(RUNNING):
            await asyncio.sleep(0.02)
        call.cancel()
        while guard.metric(RUNNING) or guard.metric(WAITING):
            await asyncio.sleep(0.02)
    assert guard.metric(FINISHED) - before < len(prompts)  # it does not count those that were abandoned
    await assert_works(rig)


async def test_an_unknown_name_refuses_every_request(guard: VllmServer, guard_bundle: Path) -> None:
    backend = open_backend(choice(guard, guard_bundle, "somebody-else"))
    async with backend.engine as engine:
        rig = Rig(engine, backend.prompter, backend.categories)
        with pytest.raises(EngineUnavailable, match="model name"):
            await engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
