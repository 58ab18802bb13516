"""A small engine with random weights, built and run on this machine's GPU. NOT RUN so far, on any card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpu.checks import MOST_GROWTH_MIB, growth_mib
from gpu.material import acceptance_posts, reference_scores
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.filterwarnings("default"),  # torch's and TensorRT's own
]

TOLERANCE = 0.05
"""Of a probability: BF16 on the GPU against float32."""


def test_it_is_built_started_and_scores_every_post(small: dict[str, Any]) -> None:
    assert small["health"]
    assert small["failures"] == {}
    assert small["throughput"]["posts"] > 0


def test_its_logits_are_float32_and_prompts_that_come_again_are_reused(small: dict[str, Any]) -> None:
    assert [one for one in small["warnings"] if "logits in" in one] == []
    assert small["cached_again"]
    assert min(small["cached_again"]) > 0


def test_its_scores_are_those_of_transformers(
    small: dict[str, Any], small_bundle: Path, small_checkpoint: Path
) -> None:
    bundle = Bundle.open(small_bundle, verify=False)
    prompter = Prompter(
        bundle.tokenizer, bundle.layout, max_prompt_tokens=bundle.manifest.limits.max_prompt_tokens
    )
    prompts = [
        one.token_ids for one in prompter.build_many(acceptance_posts()[:40]) if isinstance(one, Prompt)
    ]
    expected = reference_scores(small_checkpoint, prompts, [*bundle.labels.first_ids().values()])
    for found, wanted in zip(small["scores"], expected, strict=False):
        assert found == pytest.approx(wanted, abs=TOLERANCE)


def test_its_memory_does_not_grow(small: dict[str, Any]) -> None:
    process, gpu = zip(*small["memory"], strict=True)
    assert growth_mib(process) < MOST_GROWTH_MIB
    assert growth_mib(gpu) < MOST_GROWTH_MIB
