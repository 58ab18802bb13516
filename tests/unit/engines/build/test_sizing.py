"""The sizing calculator: each expectation is worked out here by hand, from the published figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.backends.gpu import GPUS, RATES, GpuName
from sluicegate.engines.build import sizing
from sluicegate.engines.build.shape import QWEN3GUARD_8B
from sluicegate.engines.build.sizing import (
    Demand,
    cache_tokens,
    figures,
    fleet_of,
    quantisation_of,
    rate_of,
)
from sluicegate.engines.errors import BuildError

PROMPT_S, OUTPUT_S = sizing.ANCHOR_PROMPT_TOKENS_S, sizing.ANCHOR_OUTPUT_TOKENS_S
COMMENTS = Demand(gpu="H100", tokens_per_post=61.0, explained=0.0)


def test_the_model_is_the_published_one() -> None:
    assert QWEN3GUARD_8B.parameters == 8_190_735_360
    assert QWEN3GUARD_8B.kv_bytes == 147_456
    assert QWEN3GUARD_8B.weight_bytes("bf16") == 2 * 8_190_735_360
    assert QWEN3GUARD_8B.weight_bytes("fp8") == 6_945_767_424 + 2 * 1_244_967_936


def test_the_anchor_gives_both_published_rows() -> None:
    """Both rows, 128 tokens out each: a request takes what its prompt and its answer take."""
    for tokens, published in ((2048, 3_450), (128, 28_312)):
        request_s = tokens / PROMPT_S + 128 / OUTPUT_S
        assert 128 / request_s == pytest.approx(published)
    assert pytest.approx(58_931, abs=1) == PROMPT_S
    assert pytest.approx(54_491, abs=1) == OUTPUT_S


def test_only_what_the_prefix_cache_does_not_hold_is_computed() -> None:
    rate = rate_of(COMMENTS)
    assert rate.computed_tokens == 299 + 61 - 201
    assert rate.posts_s == pytest.approx(PROMPT_S / 159)


def test_without_a_shared_prefix_all_is_computed() -> None:
    assert rate_of(replace(COMMENTS, shared_tokens=0)).computed_tokens == 360


@pytest.mark.parametrize(("in_text", "generated"), [(0.0, 1), (0.2, 4), (1.0, 16)])
def test_an_explanation_costs_what_is_forced_one_found_token_and_its_own(
    in_text: float, generated: float
) -> None:
    demand = replace(COMMENTS, explained=0.5, in_text=in_text)
    rate = rate_of(demand)
    assert demand.explanation_tokens == pytest.approx(generated)
    assert rate.explain_s == pytest.approx(7 / PROMPT_S + generated / OUTPUT_S)
    assert rate.posts_s == pytest.approx(1 / (159 / PROMPT_S + rate.explain_s / 2))


@pytest.mark.parametrize("texts", [0, 3, 10])
def test_the_simulated_gpu_takes_as_long_for_explanations(texts: int) -> None:
    """The comparison's engine and this page are of one card."""
    simulated = replace(FakeProfile.h100(), in_flight_batching=True)
    rate = rate_of(replace(COMMENTS, in_text=texts / 10))
    assert simulated.prefill_tokens_per_s == pytest.approx(rate.prompt_tokens_s, rel=1e-3)
    assert simulated.decode_tokens_per_s == pytest.approx(rate.output_tokens_s, rel=1e-3)
    assert simulated.explaining(10, texts=texts).booked_s == pytest.approx(10 * rate.explain_s, rel=1e-2)


@pytest.mark.parametrize(
    ("gpu", "quantisation", "prompt", "output"),
    [
        ("H200", "fp8", PROMPT_S, OUTPUT_S),  # as fast in products; its memory is faster
        ("H100", "bf16", PROMPT_S * 989 / 1979, OUTPUT_S * 989 / 1979),
        ("H100", "w4a16_awq", PROMPT_S * 989 / 1979, OUTPUT_S * 989 / 1979),
        ("L4", "fp8", PROMPT_S * 242 / 1979, OUTPUT_S * 300 / 3350),  # its memory is the narrower
        ("A100", "w4a16_awq", PROMPT_S * 312 / 1979, OUTPUT_S * 312 / 1979),
    ],
)
def test_another_gpu_is_scaled_by_what_bounds_it(
    gpu: GpuName, quantisation: str, prompt: float, output: float
) -> None:
    rate = rate_of(Demand(gpu=gpu, tokens_per_post=60, quantisation=quantisation))  # type: ignore[arg-type]
    assert rate.prompt_tokens_s == pytest.approx(prompt)
    assert rate.output_tokens_s == pytest.approx(output)


@pytest.mark.parametrize("gpu", get_args(GpuName))
def test_every_kind_has_rates_and_is_sized_in_a_form_that_it_computes(gpu: GpuName) -> None:
    demand = Demand(gpu=gpu, tokens_per_post=60)
    assert (RATES[gpu].fp8_tflops is not None) == GPUS[gpu].computes_fp8
    assert quantisation_of(demand) == ("w4a16_awq" if gpu == "A100" else "fp8")
    assert rate_of(demand).posts_s > 0


def test_fp8_on_ampere_is_refused_with_what_to_take() -> None:
    with pytest.raises(
        BuildError, match="A100 is Ampere and does not multiply in FP8; take --quantisation w4a16"
    ):
        rate_of(Demand(gpu="A100", tokens_per_post=60, quantisation="fp8"))


def test_the_cache_has_what_weights_and_reserve_leave() -> None:
    left = 24 * 2**30 - (6_945_767_424 + 2 * 1_244_967_936) - 4 * 2**30
    assert cache_tokens(Demand(gpu="L4", tokens_per_post=60)) == int(left * 0.85 / 147_456)


@pytest.mark.parametrize(("gpu", "form", "tokens"), [("L4", "bf16", 29_300), ("H100", "fp8", 32_600)])
def test_a_prompt_that_fits_no_cache_or_no_position_is_refused(
    gpu: GpuName, form: str, tokens: float
) -> None:
    fitting = Demand(gpu=gpu, tokens_per_post=1000, quantisation=form)  # type: ignore[arg-type]
    rate_of(fitting)
    with pytest.raises(BuildError, match=f"is too long for {gpu} .* judge such posts in parts"):
        rate_of(replace(fitting, tokens_per_post=tokens))


def test_a_fleet_is_for_the_peak_of_what_is_left_to_judge() -> None:
    demand = replace(COMMENTS, peak_factor=2.0, answered_before=0.25, utilisation=0.5, price=2.5)
    fleet = fleet_of(demand, rate_of(demand), 86.4e6)
    assert (fleet.mean_posts_s, fleet.peak_posts_s, fleet.judged_posts_s) == (1000, 2000, 1500)
    assert fleet.gpus == math.ceil(1500 / (PROMPT_S / 159 * 0.5)) == 9
    assert (fleet.workers, fleet.partitions) == (4, 9)  # more GPUs than two for each worker
    assert fleet.cost_per_day == 9 * 24 * 2.5
    assert fleet.cost_per_million == pytest.approx(540 / 86.4)


def test_with_few_gpus_there_are_two_partitions_for_each_worker() -> None:
    demand = replace(COMMENTS, worker_posts_s=10.0)
    fleet = fleet_of(demand, rate_of(demand), 86.4e6)
    assert (fleet.workers, fleet.partitions) == (300, 600)


def test_the_smallest_stream_needs_one_of_each() -> None:
    fleet = fleet_of(COMMENTS, rate_of(COMMENTS), 1)
    assert (fleet.gpus, fleet.workers, fleet.partitions) == (1, 1, 6)


def test_a_hundred_times_the_posts_need_a_hundred_times_the_gpus() -> None:
    rate = rate_of(COMMENTS)
    small, large = (fleet_of(COMMENTS, rate, volume).gpus for volume in (1e8, 1e10))
    assert 100 * (small - 1) < large <= 100 * small


def test_every_figure_has_its_source_or_is_called_assumed() -> None:
    told = {figure.name: figure for figure in figures(COMMENTS, 30e6)}
    assert all(figure.how for figure in told.values())
    for name in (
        "reserve",
        "planned for",
        "peak posts/s",
        "judged of them",
        "workers",
        "price of a GPU",
        "generated for it",
        "posts/s of a GPU",
    ):
        assert "assumed" in told[name].how
    assert "assumed" not in told["prompt tokens/s"].how
    other = {figure.name: figure.how for figure in figures(replace(COMMENTS, gpu="L40S"), 30e6)}
    assert "x 0.370" in other["prompt tokens/s"]
    assert "assumed" in other["prompt tokens/s"]


def test_the_figures_agree_with_the_fleet() -> None:
    told = {figure.name: figure.value for figure in figures(COMMENTS, 30e6)}
    fleet = fleet_of(COMMENTS, rate_of(COMMENTS), 30e6)
    assert (told["GPUs"], told["workers"], told["partitions"]) == (
        fleet.gpus,
        fleet.workers,
        fleet.partitions,
    )
    assert told["computed of them"] + told["cached of them"] == told["tokens of a prompt"]
    assert told["prompts of a step"] == 8192 // 360
