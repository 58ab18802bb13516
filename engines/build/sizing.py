"""How many GPUs a stream of posts needs: arithmetic on published figures and on assumptions.

Nothing here is measured. The one anchor of speed is NVIDIA's table for a model of the same size on an H100;
``make gpu-acceptance`` compares a real card with what comes out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.engines.build.errors import BuildError
from sluicegate.engines.build.gpu_kinds import GPUS
from sluicegate.engines.build.gpu_rates import RATES
from sluicegate.engines.build.recipe import Limits
from sluicegate.engines.build.shape import QWEN3GUARD_8B

if TYPE_CHECKING:
    from sluicegate.engines.build.gpu_kinds import GpuName
    from sluicegate.engines.build.recipe import Quantisation

# NVIDIA's performance overview of TensorRT-LLM 1.0: Llama-3.1-8B FP8 on one H100, output tokens a second at
# 2,048 tokens in and 128 out, and at 128 in and 128 out.
ANCHOR_GPU: Final = "H100"
ANCHOR_PROMPT_TOKENS_S: Final = 3450 * 2048 / 128
ANCHOR_OUTPUT_TOKENS_S: Final = 28_312.0

LIMITS: Final = Limits()
BLOCK_TOKENS: Final = 32
"""The prefix cache finds whole blocks alone."""
RESERVE_GIB: Final = 4.0
CACHE_SHARE: Final = 0.85
EXPLANATION_TOKENS: Final = 12
AGAIN_TOKENS: Final = BLOCK_TOKENS // 2 + 6
"""Computed when a prompt is asked about once more: half a block that is not found, and what is forced."""
LEAST_PARTITIONS: Final = 6
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted of which GPU; the options of ``sluicegate engine size`` say what each is."""

    gpu: GpuName
    tokens_per_post: float
    quantisation: Quantisation | None = None
    peak_factor: float = 3.0
    answered_before: float = 0.0
    explained: float = 0.1
    utilisation: float = 0.7
    static_tokens: int = 299
    shared_tokens: int = 201
    worker_posts_s: float = 500.0
    price: float | None = None

    @property
    def prompt_tokens(self) -> float:
        """Of a whole prompt."""
        return self.static_tokens + self.tokens_per_post

    @property
    def cached_tokens(self) -> int:
        """Those of them that the prefix cache holds."""
        return self.shared_tokens // BLOCK_TOKENS * BLOCK_TOKENS

    @property
    def price_per_hour(self) -> float:
        """Of one GPU: the given one, else the assumed one."""
        return RATES[self.gpu].price_per_hour if self.price is None else self.price


@dataclass(frozen=True, slots=True)
class Rate:
    """What one GPU does, kept busy."""

    prompt_tokens_s: float
    output_tokens_s: float
    computed_tokens: float
    """Of one prompt."""
    score_s: float
    """Of the GPU's time, for one post."""
    explain_s: float
    """What explaining it costs more."""
    posts_s: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a stream needs."""

    posts_per_day: float
    mean_posts_s: float
    peak_posts_s: float
    judged_posts_s: float
    """At the peak, by GPUs."""
    gpus: int
    workers: int
    partitions: int
    cost_per_day: float
    cost_per_million: float


def quantisation_of(demand: Demand) -> Quantisation:
    """The form of the weights: the wanted one, else the best that the GPU computes.

    Raises:
        BuildError: The GPU does not compute it.
    """
    kind = GPUS[demand.gpu]
    if demand.quantisation == "fp8" and not kind.computes_fp8:
        raise BuildError(
            f"{kind.name} is {kind.architecture} and does not multiply in FP8; take --quantisation w4a16_awq or bf16"
        )
    return demand.quantisation or ("fp8" if kind.computes_fp8 else "w4a16_awq")


def cache_tokens(demand: Demand) -> int:
    """Tokens that the cache has room for, beside weights and reserve."""
    weights_gib = QWEN3GUARD_8B.weight_bytes(quantisation_of(demand)) / 2**30
    left_gib = GPUS[demand.gpu].memory_gib - weights_gib - RESERVE_GIB
    return max(0, int(left_gib * CACHE_SHARE * 2**30 / QWEN3GUARD_8B.kv_bytes))


def compute_ratio(demand: Demand) -> float:
    """Dense TFLOPS of the GPU in that form, against the anchor's. 4-bit weights are multiplied in BF16."""
    rates, anchor = RATES[demand.gpu], RATES[ANCHOR_GPU]
    own = rates.fp8_tflops if quantisation_of(demand) == "fp8" else rates.bf16_tflops
    return (own or rates.bf16_tflops) / (anchor.fp8_tflops or anchor.bf16_tflops)


def rate_of(demand: Demand) -> Rate:
    """What one GPU does with such posts.

    Raises:
        BuildError: The GPU does not compute that form, or the prompts are too long.
    """
    longest = min(QWEN3GUARD_8B.positions, cache_tokens(demand))
    if demand.prompt_tokens > longest:
        raise BuildError(
            f"a prompt of {demand.prompt_tokens:,.0f} tokens is too long for {demand.gpu} with {quantisation_of(demand)} "
            f"weights, which takes {longest:,}; judge such posts in parts, or take another GPU"
        )
    compute = compute_ratio(demand)
    bandwidth = RATES[demand.gpu].bandwidth_gb_s / RATES[ANCHOR_GPU].bandwidth_gb_s
    prompt_tokens_s = ANCHOR_PROMPT_TOKENS_S * compute
    output_tokens_s = ANCHOR_OUTPUT_TOKENS_S * min(compute, bandwidth)
    computed = demand.prompt_tokens - demand.cached_tokens
    score_s = computed / prompt_tokens_s
    # Two requests: one token for the distribution over the categories, and the text.
    explain_s = 2 * AGAIN_TOKENS / prompt_tokens_s + EXPLANATION_TOKENS / output_tokens_s
    return Rate(
        prompt_tokens_s=prompt_tokens_s,
        output_tokens_s=output_tokens_s,
        computed_tokens=computed,
        score_s=score_s,
        explain_s=explain_s,
        posts_s=1 / (score_s + demand.explained * explain_s),
    )


def fleet_of(demand: Demand, rate: Rate, posts_per_day: float) -> Fleet:
    """GPUs, workers and partitions for a number of posts a day, and what the GPUs cost."""
    mean = posts_per_day / DAY_S
    peak = mean * demand.peak_factor
    judged = peak * (1 - demand.answered_before)
    gpus = max(1, math.ceil(judged / (rate.posts_s * demand.utilisation)))
    workers = max(1, math.ceil(peak / demand.worker_posts_s))
    cost = gpus * 24 * demand.price_per_hour
    return Fleet(
        posts_per_day=posts_per_day,
        mean_posts_s=mean,
        peak_posts_s=peak,
        judged_posts_s=judged,
        gpus=gpus,
        workers=workers,
        partitions=max(LEAST_PARTITIONS, 2 * workers, gpus),
        cost_per_day=cost,
        cost_per_million=cost / posts_per_day * 1e6,
    )
