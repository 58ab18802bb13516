"""The acceptance on a GPU, as far as it needs none: its decisions, and its measuring over a STAND-IN for TensorRT-LLM."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.brain import Brain
from conformance.stand_in import StandIn
from gpu import acceptance, checks
from gpu.material import (
    acceptance_posts,
    reference_scores,
    small_config,
    write_posts,
    write_recipe,
    write_small_checkpoint,
)
from gpu.measure import measure
from gpu.shapes import SHAPES, shape_lengths
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.gpu import Gpu
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.schemas import Post, decode_post
from support.chat_template import TEMPLATE
from support.small_bundle import small_tokenizer
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from gpu.measure import Memory

ROOT = Path(__file__).parents[2]


def test_flips_are_counted_among_what_both_engines_answered() -> None:
    found = checks.count_flips(["safe", "unsafe", None, "safe"], ["safe", "safe", "safe", None])
    assert (found.posts, found.flips, found.failures, found.share) == (2, 1, 2, 0.5)


def test_flips_of_different_posts_or_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        checks.count_flips(["safe", "safe"], ["safe"])
    with pytest.raises(ValueError, match="no post was scored by both"):
        checks.count_flips([None], ["safe"])


def test_the_upper_bound_is_above_the_share_and_nears_it_with_more_posts() -> None:
    few, many = (checks.Flips(posts, posts // 200, 0) for posts in (200, 20_000))
    assert few.share == many.share == 0.005
    assert 0.005 < many.upper < 0.007 < few.upper < 0.03
    assert checks.Flips(1000, 0, 0).upper == pytest.approx(0.0027, abs=1e-4)


@pytest.mark.parametrize(
    ("samples", "growth"),
    [
        ([*range(100, 140)] * 1, 20),  # 1 MiB a sample
        ([100.0] * 10 + [500.0] * 30, 0),  # filled a cache, and stayed
        ([100.0] * 30 + [500.0] * 10, 400),
    ],
)
def test_growth_is_what_comes_after_the_caches_are_full(samples: list[float], growth: float) -> None:
    assert checks.growth_mib(samples) == growth


def test_a_soak_that_was_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="let it run longer"):
        checks.growth_mib([1.0] * 7)


def test_a_contradiction_is_a_category_of_what_is_safe_or_none_of_what_is_not() -> None:
    assert checks.contradicts("safe", ["Violent"])
    assert checks.contradicts("unsafe", [])
    assert not checks.contradicts("safe", [])
    assert not checks.contradicts("controversial", ["PII"])


def test_f1_strict_counts_controversial_as_harmful() -> None:
    harmful, found = [True, True, False, False], ["unsafe", "controversial", "controversial", "safe"]
    assert checks.f1_percent(harmful, found, strict=True) == pytest.approx(80.0)
    assert checks.f1_percent(harmful, found, strict=False) == pytest.approx(200 / 3)
    with pytest.raises(ValueError, match="harmful"):
        checks.f1_percent([False], ["safe"], strict=True)


def test_the_reckoned_speed_is_the_sizing_calculators() -> None:
    reckoned = checks.reckoned_posts_s("H100", "fp8", prompt_tokens=360.0, shared_tokens=201)
    prompt_tokens_s = 1920 / (128 / 3450 - 128 / 28_312)  # both published rows together
    assert reckoned == pytest.approx(prompt_tokens_s / (360 - 201))


def test_every_shape_is_measured_and_the_contents_are_not() -> None:
    lengths = shape_lengths(TEMPLATE, small_tokenizer())
    assert lengths.keys() == SHAPES.keys()
    assert len({(one.before, one.own) for one in lengths.values()}) > 3
    turn = len(small_tokenizer().encode_text("ASSISTANT:")) + len(small_tokenizer().encode_text("\n\n"))
    longer = lengths["user, assistant, user, assistant"].own - lengths["user, assistant"].own
    assert longer >= 2 * turn


def test_there_are_over_a_thousand_posts_and_a_hundred_harmless_ones_come_first(tmp_path: Path) -> None:
    posts = acceptance_posts()
    assert len(posts) >= 1000
    assert {(post.metadata or {}).get("label") for post in posts[:100]} == {"safe"}
    assert {post.kind for post in posts} == {"post", "prompt", "response"}
    written = [
        decode_post(line) for line in write_posts(tmp_path / "p", posts[:50]).read_bytes().splitlines()
    ]
    assert [one.text for one in written if isinstance(one, Post)] == [post.text for post in posts[:50]]


@pytest.mark.parametrize(("gpu", "quantisation"), [("H100", "fp8"), ("A100", "w4a16_awq"), ("L4", "bf16")])
def test_its_recipes_are_recipes(tmp_path: Path, gpu: str, quantisation: str) -> None:
    path = write_recipe(
        tmp_path, "guard", checkpoint=tmp_path, gpu=gpu, quantisation=quantisation, posts=tmp_path / "p"
    )
    recipe = BuildRecipe.load(path)
    assert (recipe.gpu, recipe.quantisation, recipe.container) == (gpu, quantisation, False)


def test_the_small_checkpoint_is_a_qwen3_with_room_for_its_tokens() -> None:
    config = small_config()
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["vocab_size"] >= small_tokenizer().vocabulary_size


@pytest.mark.adapt
@pytest.mark.filterwarnings("default::FutureWarning")
def test_the_small_checkpoints_scores_follow_the_prompt(tmp_path: Path) -> None:
    """Else an engine that ignored its prompt would be found right."""
    label_ids = [
        small_tokenizer().encode_static(f" {name}")[0] for name in ("Safe", "Controversial", "Unsafe")
    ]
    checkpoint = write_small_checkpoint(tmp_path / "small")
    prompts = [
        small_tokenizer().encode_static(f"{word} Safety:") for word in ("Hello", "Fine", "region", "None")
    ]
    unsafe = [scores[2] for scores in reference_scores(checkpoint, prompts, label_ids)]
    assert max(unsafe) - min(unsafe) > 0.2


@pytest.mark.parametrize(
    ("name", "capability", "kind"),
    [("NVIDIA H100 80GB HBM3", "9.0", "H100"), ("NVIDIA L40S", "8.9", "L40S"), ("Tesla V100", "7.0", None)],
)
def test_the_kind_of_a_card_is_found_or_the_reason_is_told(
    name: str, capability: str, kind: str | None
) -> None:
    gpu = Gpu(name, capability, 80_000, "570", "GPU-1")
    if kind:
        assert acceptance.kind_of(gpu).name == kind
    else:
        with pytest.raises(acceptance.NotRunError, match="Tesla V100"):
            acceptance.kind_of(gpu)


def test_without_the_weights_the_reason_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ACCEPTANCE_GUARD", raising=False)
    with pytest.raises(acceptance.NotRunError, match="ACCEPTANCE_GUARD"):
        acceptance.guard_checkpoint()
    monkeypatch.setenv("ACCEPTANCE_GUARD", str(tmp_path))
    with pytest.raises(acceptance.NotRunError, match=r"holds no config\.json"):
        acceptance.guard_checkpoint()


async def test_measuring_goes_through_over_the_stand_in(tmp_path: Path) -> None:
    """Says nothing of TensorRT-LLM: that the code runs, and that the numbers are of the right posts."""
    posts = [*acceptance_posts()[:6], Post(id="long", text="far too long " * 2000)]
    numbers = count()

    def memory() -> Memory:
        return 100.0, float(next(numbers))

    with StandIn(Brain()).installed(tmp_path / "site"):
        bundle = write_trtllm_bundle(tmp_path / "bundle", "engine")
        backend = open_backend(EngineChoice("tensorrt_llm", bundle=bundle))
        found = await measure(backend, posts, throughput_s=0.5, soak_s=0.3, memory=memory, every_s=0.02)
    assert found["health"]
    assert (len(found["severities"]), found["too_long"], found["failures"]) == (6, 1, {})
    assert all(sum(scores) == pytest.approx(1) for scores in found["scores"])
    assert len(found["cached_again"]) == 6
    assert min(found["cached_again"]) > 0
    assert found["explanations"]["asked"] == 6
    assert found["explanations"]["failures"] == {}
    assert len(found["written"]) == 6
    assert all(len(one["first_ids"]) >= 1 for one in found["written"])
    throughput = found["throughput"]
    assert throughput["posts_s"] == pytest.approx(throughput["posts"] / 0.45)
    assert throughput["prompt_tokens"] > throughput["shared_tokens"] > 0
    assert [one[1] for one in found["memory"]] == [float(number) for number in range(len(found["memory"]))]
    assert not any(post.text in str(found) for post in posts)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_llm") is not None, reason="they can run here")
def test_without_a_gpu_the_tests_are_skipped_loudly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/gpu"],
        cwd=ROOT,
        env=os.environ | {"REQUIRE_GPU": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"!!! NOT RUN: \d+ gpu tests: no GPU with TensorRT-LLM !!!", done.stdout), done.stdout
