"""The engines that the comparison runs with."""

from __future__ import annotations

from compare.process import EngineSetup
from sluicegate.engines.backends.fake_profile import FakeProfile

H100 = EngineSetup("fake", {"preset": "h100", "in_flight_batching": True})
"""Imitates an 8B guard in FP8 on one H100."""
PREFILL_PER_S = FakeProfile.h100().prefill_tokens_per_s
INSTANT = EngineSetup("fake", {})
"""Takes no time: what is left is the pipeline."""
FIFTH = EngineSetup(
    "fake",
    {
        "preset": "h100",
        "in_flight_batching": True,
        "prefill_tokens_per_s": 11_780,
        "decode_tokens_per_s": 10_900,
        "step_s": 0.012,
        "saturating_prompts": 16,
    },
)
"""A fifth of that speed, so that three workers with an engine each leave the cores idle; small micro-batches, so
that a steady part has many of them."""
CPU_MODEL = EngineSetup("llama_cpp", {})

SAID = {
    "h100": (
        "fake engine imitating an H100 (simulated, no GPU ran): 58,900 prompt tokens/s and 54,500 generated tokens/s, from "
        "NVIDIA's table for Llama-3.1-8B FP8 on one H100 (TensorRT-LLM, performance overview for 1.0, rows 2048/128 and 128/128, "
        "3,450 and 28,312 output tokens/s, solved together, since each run reads and writes); a pass of at least 2.4 ms "
        "(8 GB of weights at 3.35 TB/s); in-flight batching; shared prefixes cached to the token (partial reuse of blocks, for all systems); saturated by 64 "
        "prompts; assumed: 4 bytes of UTF-8 a token, 5 ms a call outside the GPU, 4 calls side by side, 7 tokens "
        "computed for an explanation and one generated, or 16 where a text is written, which the built-in policy wants of responses alone "
        "(the engine gives no reasons), and that 15 % of the texts are not safe, by lot, which is what is explained (of 40 posts of "
        "posts-10k.jsonl the CPU model's scores asked for 32.5 %: layouts.md)"
    ),
    "worker": "fake engine that takes no time",
    "scale": (
        "fake engine at a fifth of that H100 (11,780 and 10,900 tokens/s, a pass of 12 ms, saturated by 16 prompts), one for each worker"
    ),
    "latency": "fake engine imitating an H100, as in the first table",
    "cpu": "CPU model: SmolLM2-135M with the shipped adapter, Q8_0, llama.cpp on this machine's cores",
}
"""By stage: which engine gave its figures."""
