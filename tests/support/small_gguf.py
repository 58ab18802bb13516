"""A Llama of a few kilobytes as GGUF, a base's bundle of it, and adapters on it, all with weights made of chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.bundle.bundle import file_digest
from sluicegate.engines.bundle.manifest import Manifest
from sluicegate.engines.bundle.tokenizer import BundleTokenizer
from sluicegate.engines.cpu_model.cpu_model import original_beside
from sluicegate.engines.cpu_model.gguf_model import GgufModel
from sluicegate.engines.cpu_model.models import SMALL
from support.small_bundle import control_tokens, file_entry, small_manifest, tokenizer_json

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS = 2, 64, 96, 4, 2
_KV = HIDDEN // HEADS * KV_HEADS
SHAPES = {
    "self_attn.q_proj": ("attn_q", HIDDEN, HIDDEN),
    "self_attn.k_proj": ("attn_k", _KV, HIDDEN),
    "self_attn.v_proj": ("attn_v", _KV, HIDDEN),
    "self_attn.o_proj": ("attn_output", HIDDEN, HIDDEN),
    "mlp.gate_proj": ("ffn_gate", FFN, HIDDEN),
    "mlp.up_proj": ("ffn_up", FFN, HIDDEN),
    "mlp.down_proj": ("ffn_down", HIDDEN, FFN),
}
"""Module to its tensor's name in a GGUF and the shape of its weight."""


def write_small_gguf(path: Path, *, architecture: str = "llama") -> Path:
    """Write the model; matrices as F16, norms as F32. ``qwen2`` has biases, and an output of its own."""
    import gguf  # noqa: PLC0415 - of the extra `cpu`
    import numpy as np  # noqa: PLC0415 - of the extra `cpu`

    draw = np.random.default_rng(11)
    vocabulary: dict[str, int] = orjson.loads(tokenizer_json())["model"]["vocab"]
    merges: list[list[str]] = orjson.loads(tokenizer_json())["model"]["merges"]
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), *control_tokens()]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("small")
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if architecture == "qwen2" else "smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(vocabulary) + [3] * len(control_tokens()))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(control_tokens()["<|im_end|>"])

    def matrix(rows: int, columns: int) -> Any:
        return (draw.standard_normal((rows, columns)) / columns**0.5).astype(np.float16)

    writer.add_tensor("token_embd.weight", 4 * matrix(len(tokens), HIDDEN))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(HIDDEN, np.float32))
        for name, rows, columns in SHAPES.values():
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(rows, columns))
            if architecture == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                writer.add_tensor(f"blk.{layer}.{name}.bias", draw.standard_normal(rows).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    if architecture == "qwen2":
        writer.add_tensor("output.weight", 4 * matrix(len(tokens), HIDDEN))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_base(folder: Path, *, architecture: str = "llama") -> Path:
    """A base's bundle, as ``fetch-cpu --base`` leaves it: the published weights lie beside it."""
    folder.mkdir(parents=True)
    published = write_small_gguf(folder.parent / "published.gguf", architecture=architecture)
    model = GgufModel(published)
    model.write_q8_0(folder / "model.gguf", name=SMALL.title)
    raw = model.tokenizer_json()
    tokenizer = BundleTokenizer(raw, control_tokens())
    (folder / "tokenizer.json").write_bytes(raw)
    document = small_manifest()
    document["base"] = {"name": "small", "revision": "1", "sha256": file_digest(published)}
    document["quantisation"] = "Q8_0"
    document["tokenizer"]["digest"] = tokenizer.digest
    for label in document["labels"].values():
        label["token_ids"] = tokenizer.encode_static(label["text"])
    document["files"] = {
        "model": file_entry("model.gguf", (folder / "model.gguf").read_bytes()),
        "tokenizer": file_entry("tokenizer.json", raw),
    }
    (folder / "manifest.json").write_bytes(orjson.dumps(document))
    published.rename(original_beside(folder, Manifest.parse((folder / "manifest.json").read_bytes())))
    return folder


def published_of(base: Path) -> Path:
    """The weights that a base's bundle was made of."""
    return original_beside(base, Manifest.parse((base / "manifest.json").read_bytes()))


def adapter_arrays(
    *, r: int = 2, spread: float = 0.3, seed: int = 1, modules: Collection[str] = tuple(SHAPES)
) -> dict[str, Any]:
    """Weights of an adapter under the names that peft writes."""
    import numpy as np  # noqa: PLC0415 - of the extra `cpu`

    draw = np.random.default_rng(seed)
    arrays = {}
    for layer in range(LAYERS):
        for module in modules:
            _, rows, columns = SHAPES[module]
            head = f"base_model.model.model.layers.{layer}.{module}"
            arrays[f"{head}.lora_A.weight"] = (spread * draw.standard_normal((r, columns))).astype(np.float16)
            arrays[f"{head}.lora_B.weight"] = (spread * draw.standard_normal((rows, r))).astype(np.float16)
    return arrays


def peft_config(*, r: int = 2, **changed: Any) -> dict[str, Any]:
    """``adapter_config.json`` as peft writes it, in short."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": r,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
        "target_modules": [module.rpartition(".")[2] for module in SHAPES],
        "bias": "none",
        "use_rslora": False,
        "base_model_name_or_path": "/somewhere",
        **changed,
    }


def write_peft(
    folder: Path, arrays: dict[str, Any] | None = None, config: dict[str, Any] | None = None
) -> Path:
    """An adapter's folder."""
    from safetensors.numpy import save_file  # noqa: PLC0415 - of the extra `cpu`

    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays or adapter_arrays(), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(orjson.dumps(config or peft_config()))
    return folder
