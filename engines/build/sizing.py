"""How many GPUs a stream of posts needs: arithmetic on published figures and on assumptions.

Nothing here is measured. The one anchor of speed is NVIDIA's table for a model of the same size on an H100;
``make gpu-acceptance`` compares a real card with what comes out here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluicegate.engines.backends.gpu import GPUS, RATES, GpuName
from sluicegate.engines.build.recipe import BuildLimits, Quantisation
from sluicegate.engines.build.shape import QWEN3GUARD_8B
from sluicegate.engines.errors import BuildError

# NVIDIA's performance overview of TensorRT-LLM 1.0: Llama-3.1-8B FP8 on one H100, output tokens a second at
# 2,048 tokens in and 128 out, and at 128 in and 128 out. A request of either row reads and writes, so the rates
# follow from both rows together: in / prompt rate + out / output rate is the time of a request.
ANCHOR_GPU: Final = "H100"
_LONG_S: Final = 128 / 3_450
_SHORT_S: Final = 128 / 28_312
ANCHOR_PROMPT_TOKENS_S: Final = (2048 - 128) / (_LONG_S - _SHORT_S)
ANCHOR_OUTPUT_TOKENS_S: Final = 128 / (_SHORT_S - 128 / ANCHOR_PROMPT_TOKENS_S)

LIMITS: Final = BuildLimits()
RESERVE_GIB: Final = 4.0
CACHE_SHARE: Final = 0.85
TEXT_TOKENS: Final = 16
"""Generated for an explanation that is written out, as the simulated H100 has it."""
AGAIN_TOKENS: Final = 7
"""Computed for an explanation: the 6 that are forced, and the last of those that the score left in the cache.
TensorRT-LLM reuses a part of a block, too (``enable_partial_reuse``, on by default). In process the second request
computes one token more, which is not counted."""
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
    explained: float = 0.15
    in_text: float = 0.0
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
    def explanation_tokens(self) -> float:
        """Generated for one explanation, on average: one where the category alone is wanted."""
        return 1 - self.in_text + self.in_text * TEXT_TOKENS

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
    computed = demand.prompt_tokens - demand.shared_tokens
    score_s = computed / prompt_tokens_s
    explain_s = AGAIN_TOKENS / prompt_tokens_s + demand.explanation_tokens / output_tokens_s
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


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and where it is from."""

    name: str
    value: float
    unit: str
    how: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def figures(demand: Demand, posts_per_day: float) -> list[Figure]:
    """All of them, in order.

    Raises:
        BuildError: As :func:`~sluicegate.engines.build.sizing.rate_of`.
    """
    rate = rate_of(demand)
    fleet = fleet_of(demand, rate, posts_per_day)
    return [*_memory(demand), *_speed(demand, rate), *_need(demand, rate, fleet)]


def _memory(demand: Demand) -> list[Figure]:
    kind, model, form = GPUS[demand.gpu], QWEN3GUARD_8B, quantisation_of(demand)
    held = cache_tokens(demand)
    quantised = model.linear_parameters / 1e9
    rest = (model.parameters - model.linear_parameters) / 1e9
    return [
        Figure("memory", kind.memory_gib, "GiB", RATES[kind.name].source),
        Figure(
            "weights",
            model.weight_bytes(form) / 2**30,
            "GiB",
            f"Qwen3Guard-Gen-8B's config.json: {quantised:.2f} billion in {form}, {rest:.2f} in BF16",
        ),
        Figure("reserve", RESERVE_GIB, "GiB", "context and activations: assumed"),
        Figure(
            "KV of a token", model.kv_bytes, "bytes", "config.json: 2 x 36 layers x 8 heads x 128 x 2 bytes"
        ),
        Figure("KV cache", held, "tokens", f"{CACHE_SHARE} (the build's default) of what is left"),
        Figure("prompts it holds", held // demand.prompt_tokens, "", "KV cache / tokens of a prompt"),
    ]


def _speed(demand: Demand, rate: Rate) -> list[Figure]:
    limits = LIMITS
    step = min(limits.max_batch_size, limits.max_num_tokens // demand.prompt_tokens)
    ratio = compute_ratio(demand)
    slower = "" if ratio == 1 else ", by TFLOPS or memory bandwidth, whichever is less (assumed)"
    scaled = "" if ratio == 1 else f" x {ratio:.3f}, this GPU's TFLOPS to that one's (assumed)"
    return [
        Figure(
            "prompt tokens/s",
            rate.prompt_tokens_s,
            "",
            f"NVIDIA's table, Llama-3.1-8B FP8 on one H100: rows 2048/128 and 128/128 together{scaled}",
        ),
        Figure(
            "output tokens/s",
            rate.output_tokens_s,
            "",
            f"both rows together{slower}",
        ),
        Figure(
            "tokens of a prompt", demand.prompt_tokens, "", f"layout {demand.static_tokens}, and the post"
        ),
        Figure(
            "cached of them",
            demand.shared_tokens,
            "",
            "those that all share; TensorRT-LLM reuses a part of a block, too",
        ),
        Figure("computed of them", rate.computed_tokens, "", "the rest"),
        Figure(
            "prompts of a step",
            step,
            "",
            f"whole ones, as 1.2.1 counts: {limits.max_num_tokens:,} tokens, {limits.max_batch_size} prompts at most (build)",
        ),
        Figure("a score takes", rate.score_s * 1e3, "ms", "of the GPU: computed tokens / prompt tokens/s"),
        Figure(
            "an explanation takes",
            rate.explain_s * 1e3,
            "ms",
            f"{AGAIN_TOKENS} tokens computed (read in 1.2.1's source), {demand.explanation_tokens:.3g} generated",
        ),
        Figure(
            "generated for it",
            demand.explanation_tokens,
            "",
            f"1 for a category (ours ask for no more), {TEXT_TOKENS} for a text, as {demand.in_text:.3g} of them have (assumed)",
        ),
        Figure(
            "posts/s of a GPU",
            rate.posts_s,
            "",
            f"{demand.explained:.3g} of them explained (assumed, as in the comparison)",
        ),
        Figure(
            "a server has",
            1e3 / rate.posts_s,
            "ms of a core",
            "for the HTTP of a post: trtllm-serve is one Python process (read; its own time was not measured)",
        ),
    ]


def _need(demand: Demand, rate: Rate, fleet: Fleet) -> list[Figure]:
    return [
        Figure(
            "planned for", rate.posts_s * demand.utilisation, "", f"{demand.utilisation:.3g} of it (assumed)"
        ),
        Figure("mean posts/s", fleet.mean_posts_s, "", f"{fleet.posts_per_day:,.0f} / 86,400 s"),
        Figure("peak posts/s", fleet.peak_posts_s, "", f"x {demand.peak_factor:.3g} (assumed)"),
        Figure(
            "judged of them",
            fleet.judged_posts_s,
            "",
            f"{demand.answered_before:.3g} are answered by cache and screen (assumed)",
        ),
        Figure("GPUs", fleet.gpus, "", "judged / planned for; add those that may fail at once"),
        Figure(
            "workers",
            fleet.workers,
            "",
            f"peak / {demand.worker_posts_s:.4g} posts/s each (assumed: measure yours)",
        ),
        Figure(
            "partitions",
            fleet.partitions,
            "",
            f"two for each worker, one for each GPU, {LEAST_PARTITIONS} at least: adding some moves keys",
        ),
        Figure(
            "price of a GPU",
            demand.price_per_hour,
            "per hour",
            "assumed; give --price" if demand.price is None else "given",
        ),
        Figure("cost", fleet.cost_per_day, "per day", "all GPUs, all day; workers and brokers not counted"),
        Figure("cost of a million", fleet.cost_per_million, "", "posts; cost / posts of a day"),
    ]
