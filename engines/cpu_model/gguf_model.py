"""GGUF models: read one, merge an adapter into it, write it again as Q8_0, take its tokenizer out.

The one module that imports ``gguf``. Equal inputs give equal bytes on every machine: each value is computed by
itself or in a fixed order, never by a library that sums in an order of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter
from sluicegate.engines.errors import EngineSetupError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


_Q8_0_FILE_TYPE: Final = 7  # llama.cpp's number for "mostly Q8_0" in general.file_type
_NORMAL_TYPE: Final = 1  # llama.cpp's number in tokenizer.ggml.token_type for what text is made of
_ACTING_TYPES: Final = (3, 4)  # control tokens, and those that a chat template writes, such as <tool_call>
_EMBEDDINGS: Final = "token_embd.weight"
_OUTPUT: Final = "output.weight"
_BLOCK: Final = 32  # values of a row that share a scale in Q8_0


def libraries() -> tuple[Any, Any]:
    """The modules ``gguf`` and ``numpy``, of the extra ``cpu``.

    Raises:
        EngineSetupError: One is missing, and how to get it.
    """
    try:
        import gguf  # noqa: PLC0415  # of the extra `cpu`
        import numpy as np  # noqa: PLC0415  # the same
    except ModuleNotFoundError as error:
        raise EngineSetupError(f"{error.name} is missing: pip install 'sluicegate[cpu]'") from error
    return gguf, np


class GgufModel:
    """An opened GGUF file. Tensors are mapped, not read.

    Args:
        path: The file.

    Raises:
        EngineSetupError: It is no GGUF, or ``gguf`` is missing.
    """

    def __init__(self, path: Path) -> None:
        gguf, _ = libraries()
        try:
            self._reader = gguf.GGUFReader(path)
            self.architecture: str = self.field("general.architecture")
        except (OSError, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise EngineSetupError(
                f"{path} is no GGUF that can be read ({type(error).__name__}); fetch or make it again"
            ) from error

    def field(self, key: str) -> Any:
        """Value of a metadata field.

        Raises:
            KeyError: There is none.
        """
        return self._reader.fields[key].contents()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor names to shapes, outermost dimension first, as numpy has them."""
        return {one.name: tuple(int(n) for n in reversed(one.shape)) for one in self._reader.tensors}

    def write_q8_0(
        self, target: Path, *, name: str, deltas: Mapping[str, Callable[[], Any]] | None = None
    ) -> None:
        """Copy the model with its weights as Q8_0; vectors, such as norms, stay in float32.

        Embeddings of which only rows are looked up, since the output has weights of its own, stay as they are.
        One tensor at a time is in memory, as float32.

        Args:
            target: The file to write.
            name: Becomes ``general.name``.
            deltas: By tensor name, what makes the float32 array that is added to its dequantised values.

        Raises:
            EngineSetupError: A tensor is of a type that cannot be read, or no Q8_0 can be made of it.
        """
        gguf, np = libraries()
        changed = {"general.name": name, "general.file_type": _Q8_0_FILE_TYPE}
        writer = gguf.GGUFWriter(target, self.architecture)
        for key, field in self._reader.fields.items():
            if key.startswith("GGUF.") or key == "general.architecture":  # the writer's own
                continue
            kind, *element = field.types
            writer.add_key_value(key, changed.get(key, field.contents()), kind, *element[-1:])
        looked_up = _EMBEDDINGS if _OUTPUT in self.shapes() else None
        for tensor in self._reader.tensors:
            shape = tuple(int(n) for n in reversed(tensor.shape))
            if tensor.tensor_type == gguf.GGMLQuantizationType.F32:
                writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), tensor.n_bytes)
                continue
            if tensor.name == looked_up:
                writer.add_tensor_info(
                    tensor.name, tensor.data.shape, tensor.data.dtype, tensor.n_bytes, tensor.tensor_type
                )
                continue
            if shape[-1] % _BLOCK:
                raise EngineSetupError(
                    f"{tensor.name}: rows of {shape[-1]} values; Q8_0 takes multiples of {_BLOCK} only"
                )
            packed = gguf.quant_shape_to_byte_shape(shape, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor_info(
                tensor.name,
                packed,
                np.dtype(np.uint8),
                int(np.prod(packed)),
                gguf.GGMLQuantizationType.Q8_0,
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in self._reader.tensors:
            as_is = tensor.name == looked_up
            writer.write_tensor_data(
                np.array(tensor.data) if as_is else _as_written(tensor, (deltas or {}).get(tensor.name))
            )
        writer.close()

    def acting_tokens(self) -> dict[str, int]:
        """Tokens that act where a template writes them, spelling to id: a bundle's control tokens."""
        named = zip(self.field("tokenizer.ggml.tokens"), self.field("tokenizer.ggml.token_type"), strict=True)
        return {text: number for number, (text, kind) in enumerate(named) if kind in _ACTING_TYPES}

    def tokenizer_json(self) -> bytes:
        """The vocabulary as a ``tokenizer.json`` that knows no control token.

        Raises:
            EngineSetupError: Its way to cut text is not known here.
        """
        tokens = self.field("tokenizer.ggml.tokens")
        types = self.field("tokenizer.ggml.token_type")
        merges = self.field("tokenizer.ggml.merges")
        named = self.field("tokenizer.ggml.pre")
        if named not in _CUTS:
            raise EngineSetupError(
                f"tokenizer.ggml.pre is {ascii(named)[:40]}; there are {', '.join(_CUTS)}: give a model of these"
            )
        cut = _CUTS[named]
        document: dict[str, Any] = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": cut.normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut.first, cut.bytes]},
            "post_processor": None,
            "decoder": cut.bytes,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {
                    text: i
                    for i, (text, kind) in enumerate(zip(tokens, types, strict=True))
                    if kind == _NORMAL_TYPE
                },
                "merges": [merge.split(" ") for merge in merges],
            },
        }
        return orjson.dumps(document)


@dataclass(frozen=True, slots=True)
class _Cut:
    """How a tokenizer cuts text before it merges bytes, as ``tokenizer.json`` says it."""

    first: dict[str, Any]
    bytes: dict[str, Any]
    normalizer: dict[str, Any] | None = None


_CUTS: Final = {
    # Every digit on its own. Six ASCII control bytes and those of unassigned planes are in no token of this
    # vocabulary: like the original, the tokenizer leaves them out.
    "smollm": _Cut(
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ),
    "qwen2": _Cut(
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        {"type": "NFC"},
    ),
}
"""By the name that llama.cpp has for it."""


def _as_written(tensor: Any, delta: Callable[[], Any] | None) -> Any:
    gguf, np = libraries()
    q8_0, plain = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
    data = np.array(tensor.data)
    if delta is None and tensor.tensor_type in (q8_0, plain):
        return data
    try:
        values = gguf.quants.dequantize(data, tensor.tensor_type)
    except NotImplementedError as error:
        raise EngineSetupError(
            f"{tensor.name}: type {tensor.tensor_type.name} cannot be read; give a model as Q8_0 or F16"
        ) from error
    if delta is not None:
        values += delta()
    return values if tensor.tensor_type == plain else gguf.quants.quantize(values, q8_0)


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
_HEADS: Final = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}
_INTERLEAVED: Final = {"llama": True, "qwen2": False}
ARCHITECTURES: Final = tuple(_INTERLEAVED)
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
        field = _HEADS.get(kind or "") if _INTERLEAVED[model.architecture] else None
        heads = model.field(f"{model.architecture}.{field}") if field else None
        found[tensor] = partial(_delta, adapter, module, heads)
    return found


def _delta(adapter: PeftAdapter, module: str, heads: int | None) -> Any:
    delta = adapter.delta(module)
    return delta if heads is None else interleaved(delta, heads)


def interleaved(rows: Any, heads: int) -> Any:
    """Rows of Q or K in the order of llama.cpp.

    Rotary embeddings turn pairs of rows. transformers pairs the first half of a head with the second;
    llama.cpp's ``llama`` pairs neighbours, its ``qwen2`` does as transformers.

    Args:
        rows: ``[heads * head size, in]``.
        heads: Heads of Q, or of K.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
