"""Every figure between a GPU and a fleet, each with its source, its arithmetic, or the word "assumed"."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.engines.build import sizing
from sluicegate.engines.build.gpu_kinds import GPUS
from sluicegate.engines.build.gpu_rates import RATES
from sluicegate.engines.build.shape import QWEN3GUARD_8B

if TYPE_CHECKING:
    from sluicegate.engines.build.sizing import Demand, Fleet, Rate


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
    rate = sizing.rate_of(demand)
    fleet = sizing.fleet_of(demand, rate, posts_per_day)
    return [*_memory(demand), *_speed(demand, rate), *_need(demand, rate, fleet)]


def _memory(demand: Demand) -> list[Figure]:
    kind, model, form = GPUS[demand.gpu], QWEN3GUARD_8B, sizing.quantisation_of(demand)
    held = sizing.cache_tokens(demand)
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
        Figure("reserve", sizing.RESERVE_GIB, "GiB", "context and activations: assumed"),
        Figure(
            "KV of a token", model.kv_bytes, "bytes", "config.json: 2 x 36 layers x 8 heads x 128 x 2 bytes"
        ),
        Figure("KV cache", held, "tokens", f"{sizing.CACHE_SHARE} (the build's default) of what is left"),
        Figure("prompts it holds", held // demand.prompt_tokens, "", "KV cache / tokens of a prompt"),
    ]


def _speed(demand: Demand, rate: Rate) -> list[Figure]:
    limits = sizing.LIMITS
    step = min(limits.max_batch_size, limits.max_num_tokens // rate.computed_tokens)
    ratio = sizing.compute_ratio(demand)
    scaled = "" if ratio == 1 else f" x {ratio:.3f}, this GPU's TFLOPS to that one's (assumed)"
    return [
        Figure(
            "prompt tokens/s",
            rate.prompt_tokens_s,
            "",
            f"NVIDIA's table, Llama-3.1-8B FP8 on one H100, 2048/128: 3,450 x 16{scaled}",
        ),
        Figure(
            "output tokens/s",
            rate.output_tokens_s,
            "",
            "same table, 128/128: 28,312, by TFLOPS or memory bandwidth, whichever is less (assumed)",
        ),
        Figure(
            "tokens of a prompt", demand.prompt_tokens, "", f"layout {demand.static_tokens}, and the post"
        ),
        Figure(
            "cached of them",
            demand.cached_tokens,
            "",
            f"whole blocks of {sizing.BLOCK_TOKENS} in the {demand.shared_tokens} that all share",
        ),
        Figure("computed of them", rate.computed_tokens, "", "the rest"),
        Figure(
            "prompts of a step",
            step,
            "",
            f"at most {limits.max_num_tokens:,} tokens and {limits.max_batch_size} prompts: the build's defaults",
        ),
        Figure("a score takes", rate.score_s * 1e3, "ms", "of the GPU: computed tokens / prompt tokens/s"),
        Figure(
            "an explanation takes",
            rate.explain_s * 1e3,
            "ms",
            f"2 x {sizing.AGAIN_TOKENS} tokens computed, {sizing.EXPLANATION_TOKENS} generated (assumed)",
        ),
        Figure("posts/s of a GPU", rate.posts_s, "", f"{demand.explained:.3g} of them explained (assumed)"),
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
            f"two for each worker, one for each GPU, {sizing.LEAST_PARTITIONS} at least: adding some moves keys",
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
