"""The base on a real vLLM with the adapter beside it, which requests name: the contract, agreement, the grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract.engine_contract import TIMEOUT_S, Rig, scored, some_prompts
from sluicegate.engines.backends import open_backend
from vllm_cpu.real_vllm import ADAPTER, RealVllm, assert_kept_in_shape, choice, compare, open_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sluicegate.schemas import Scores
    from vllm_cpu.server import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.cpu_model, pytest.mark.timeout(1800)]

MOST_DIFFERENT = 0.1
"""Of a probability. What llama.cpp serves is merged and rounded to 8 bits; here base and adapter are added as they run."""


class TestAdapter(RealVllm):
    @pytest.fixture
    async def rig(self, base: VllmServer, adapter_bundle: Path) -> AsyncIterator[Rig]:
        async with open_rig(base, adapter_bundle, ADAPTER) as found:
            yield found


async def test_the_adapter_agrees_with_the_merged_guard_on_100_texts(
    base: VllmServer,
    adapter_bundle: Path,
    llama_scores: list[Scores | None],
    record_property: Callable[[str, object], None],
) -> None:
    found = await compare(open_backend(choice(base, adapter_bundle, ADAPTER)), llama_scores)
    record_property("adapter by name, worst difference", round(found.any_max, 4))
    record_property("mean of each text's worst", round(found.any_mean, 4))
    record_property("texts whose label differs", found.flips)
    assert found.any_max < MOST_DIFFERENT
    assert found.spread > 2 * found.any_mean  # or agreement would prove nothing


async def test_the_name_decides_who_answers(
    base: VllmServer, base_bundle: Path, adapter_bundle: Path
) -> None:
    answers = []
    for bundle, model in ((base_bundle, None), (adapter_bundle, ADAPTER)):
        async with open_rig(base, bundle, model) as rig:
            answers.append(scored(await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S)))
    assert any(
        abs(one.scores.unsafe - other.scores.unsafe) > 0.2 for one, other in zip(*answers, strict=True)
    )


async def test_the_grammar_keeps_an_unadapted_model_in_shape(base: VllmServer, base_bundle: Path) -> None:
    async with open_rig(base, base_bundle) as rig:
        await assert_kept_in_shape(rig)
