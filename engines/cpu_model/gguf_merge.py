"""Merge an adapter into a GGUF model: which tensor a module became there, and in which order its rows lie."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.cpu_model.gguf_model import GgufModel
from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter
from sluicegate.engines.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_MODULE = re.compile(r"model\.layers\.(\d{1,4})\.([a-z_.]+)")
_TENSORS: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_HEADS: Final = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
ARCHITECTURES: Final = ("llama",)
"""Those whose rows are known to lie as they are written here. Each is told apart by a test of agreement."""


def merge(base: GgufModel, adapter: PeftAdapter, target: Path, *, name: str) -> None:
    """Write a GGUF model with an adapter merged in, as Q8_0.

    Args:
        base: A model of any type that can be dequantised.
        adapter: Trained on that model.
        target: The file to write.
        name: Becomes ``general.name``.

    Raises:
        ExportError: The adapter does not fit this model, or the model's architecture is not known.
        EngineSetupError: A tensor of the base cannot be read.
    """
    base.write_q8_0(target, name=name, deltas=deltas(base, adapter))


def deltas(model: GgufModel, adapter: PeftAdapter) -> dict[str, Callable[[], Any]]:
    """By tensor of the model, what makes the array that is added to it.

    Raises:
        ExportError: As for :func:`merge`.
    """
    if model.architecture not in ARCHITECTURES:
        raise ExportError(
            f"the base's architecture is {ascii(model.architecture)[:40]}; for llama_cpp only "
            f"{', '.join(ARCHITECTURES)} can be exported; use --to hf-merged"
        )
    shapes = model.shapes()
    found: dict[str, Callable[[], Any]] = {}
    for module, (a, b) in adapter.factors.items():
        matched = _MODULE.fullmatch(module)
        kind = _TENSORS.get(matched[2]) if matched else None
        tensor = f"blk.{matched[1]}.{kind}.weight" if matched and kind else module
        if tensor not in shapes:
            raise ExportError(
                f"the base has no {ascii(module)[:80]}; give the base the adapter was trained on"
            )
        if shapes[tensor] != (b.shape[0], a.shape[1]):
            raise ExportError(
                f"{tensor} is {shapes[tensor]} in the base and {(b.shape[0], a.shape[1])} in the adapter; "
                "give the base the adapter was trained on"
            )
        heads = model.field(_HEADS[kind]) if kind in _HEADS else None
        found[tensor] = partial(_delta, adapter, module, heads)
    return found


def _delta(adapter: PeftAdapter, module: str, heads: int | None) -> Any:
    delta = adapter.delta(module)
    return delta if heads is None else interleaved(delta, heads)


def interleaved(rows: Any, heads: int) -> Any:
    """Rows of Q or K in the order of llama.cpp.

    Rotary embeddings turn pairs of rows. transformers pairs the first half of a head with the second;
    llama.cpp's ``llama`` pairs neighbours.

    Args:
        rows: ``[heads * head size, in]``.
        heads: Heads of Q, or of K.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
