"""The layers of a Qwen3 model in plain torch, with random weights: what its arithmetic costs on a card, and nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP, _REPEATS = 3, 10


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model, as its ``config.json`` has them."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @property
    def linear_parameters(self) -> int:
        """Of the layers, without embeddings, output layer and norms."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)


GUARD_8B = Shape("8B", 36, 4096, 12_288, 32, 8, 128, 151_936)
GUARD_06B = Shape("0.6B", 28, 1024, 3072, 16, 8, 128, 151_936)
TINY = Shape("tiny", 2, 64, 96, 4, 2, 16, 128)


class Stack:
    """One model with random weights.

    Args:
        shape: Its sizes.
        device: ``cuda`` or ``cpu``.
        fp8: Multiply in FP8 with one scale a tensor; the output layer stays BF16.
    """

    def __init__(self, shape: Shape, *, device: str, fp8: bool) -> None:
        import torch  # noqa: PLC0415 - gigabytes

        self.shape, self.device, self.fp8 = shape, device, fp8
        self._scale = torch.ones((), device=device)
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self._layers = [
            (
                self._weight(queries + 2 * keys, shape.hidden),
                self._weight(shape.hidden, queries),
                self._weight(2 * shape.intermediate, shape.hidden),
                self._weight(shape.hidden, shape.intermediate),
            )
            for _ in range(shape.layers)
        ]
        self._output = torch.randn(shape.vocabulary, shape.hidden, device=device, dtype=torch.bfloat16) * 0.02

    def inputs(self, prompts: int, new: int, cached: int) -> tuple[Any, Any]:
        """Random hidden states ``[prompts, new, hidden]``, and the cache of one layer, which all layers read."""
        import torch  # noqa: PLC0415 - gigabytes

        shape = self.shape
        made = {"device": self.device, "dtype": torch.bfloat16}
        hidden = torch.randn(prompts, new, shape.hidden, **made)
        cache = torch.randn(2, prompts, shape.kv_heads, cached, shape.head_dim, **made)
        return hidden, cache

    def step(self, hidden: Any, cache: Any) -> Any:
        """Logits of the last position of each prompt: ``[prompts, vocabulary]``."""
        import torch  # noqa: PLC0415 - gigabytes
        import torch.nn.functional as F  # noqa: N812, PLC0415 - as torch calls it

        shape = self.shape
        prompts, new = hidden.shape[:2]
        cached = cache.shape[3]
        heads = (shape.heads, shape.kv_heads, shape.kv_heads)
        for to_heads, from_heads, up, down in self._layers:
            normed = F.rms_norm(hidden, (shape.hidden,))
            whole = (
                self._times(normed, to_heads).view(prompts, new, sum(heads), shape.head_dim).transpose(1, 2)
            )
            query, key, value = whole.split(heads, dim=1)
            query, key = F.rms_norm(query, (shape.head_dim,)), F.rms_norm(key, (shape.head_dim,))
            if cached:
                key, value = torch.cat((cache[0], key), 2), torch.cat((cache[1], value), 2)
            # With a cache the new tokens see one another whole: a hair more work than a causal mask.
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=not cached, enable_gqa=True)
            seen = seen.transpose(1, 2).reshape(prompts, new, -1)
            hidden = hidden + self._times(seen, from_heads)
            gate, raised = self._times(F.rms_norm(hidden, (shape.hidden,)), up).chunk(2, dim=-1)
            hidden = hidden + self._times(F.silu(gate) * raised, down)
        return F.rms_norm(hidden[:, -1], (shape.hidden,)) @ self._output.T

    def _weight(self, rows: int, columns: int) -> Any:
        import torch  # noqa: PLC0415 - gigabytes

        made = torch.randn(rows, columns, device=self.device, dtype=torch.bfloat16) * 0.02
        return made.to(torch.float8_e4m3fn) if self.fp8 else made

    def _times(self, values: Any, weight: Any) -> Any:
        import torch  # noqa: PLC0415 - gigabytes
        import torch.nn.functional as F  # noqa: N812, PLC0415 - as torch calls it

        if not self.fp8:
            return values @ weight.T
        whole = F.ScalingType.TensorWise
        flat = values.reshape(-1, values.shape[-1]).to(torch.float8_e4m3fn)
        made = F.scaled_mm(
            flat,
            weight.T,
            self._scale,
            whole,
            self._scale,
            whole,
            output_dtype=torch.bfloat16,
            use_fast_accum=self.device == "cuda",
        )
        return made.view(*values.shape[:-1], -1)


def seconds_of(work: Callable[[], Any], device: str) -> float:
    """Seconds of one run, the mean of several. On a GPU they are one CUDA graph, so that no launch is waited for."""
    import torch  # noqa: PLC0415 - gigabytes

    with torch.inference_mode():
        if device != "cuda":
            work()
            began = time.perf_counter()
            for _ in range(_REPEATS):
                work()
            return (time.perf_counter() - began) / _REPEATS
        for _ in range(_WARM_UP):
            work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        seconds = _timed_on_gpu(graph.replay)
        del graph
        torch.cuda.empty_cache()  # its memory is its own until then
        return seconds


def copy_seconds(work: Callable[[], Any], device: str) -> float:
    """Seconds of one copy between host and card, the mean of several. No graph can hold one."""
    import torch  # noqa: PLC0415 - gigabytes

    if device != "cuda":
        return seconds_of(work, device)
    with torch.inference_mode():
        for _ in range(_WARM_UP):
            work()
        return _timed_on_gpu(work)


def _timed_on_gpu(work: Callable[[], Any]) -> float:
    import torch  # noqa: PLC0415 - gigabytes

    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    began.record()
    for _ in range(_REPEATS):
        work()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1e3 / _REPEATS
