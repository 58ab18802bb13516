"""The CPU model in the forms that vLLM serves: the merged guard and the base as checkpoints, the adapter beside them.

Weights are those that llama.cpp reads, dequantised to float32, so that what differs between the two is the engine.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import gguf
import numpy as np
import orjson
from safetensors.numpy import save_file

from sluicegate.engines.bundle.bundle import MANIFEST, Bundle, file_digest
from sluicegate.engines.bundle.manifest import Manifest
from sluicegate.engines.cpu_model.cpu_model import original_beside, read_shipped
from sluicegate.engines.cpu_model.models import SMALL
from sluicegate.engines.cpu_model.peft_adapter import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_PROMPT_TOKENS: Final = 512
ADAPTER_RANK: Final = 16
_SERVED: Final = "checkpoint"
_HEADS: Final = "llama.attention.head_count"
_KV_HEADS: Final = "llama.attention.head_count_kv"
_NAMES: Final = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""Of a GGUF to those of transformers; of a layer's tensor the part in the middle."""


def write_guard(folder: Path, cpu_bundle: Path) -> Path:
    """Write the merged guard as a bundle that vLLM serves, unless it is there.

    Args:
        folder: The bundle's.
        cpu_bundle: The bundle for llama.cpp.
    """
    bundle = Bundle.open(cpu_bundle)
    return _write(folder, bundle, bundle.file("model"))


def write_base(folder: Path, cpu_base_bundle: Path) -> Path:
    """Write the base, as published, as a bundle with room for an adapter, unless it is there.

    Args:
        folder: The bundle's.
        cpu_base_bundle: The base's bundle for llama.cpp.
    """
    bundle = Bundle.open(cpu_base_bundle)
    original = original_beside(cpu_base_bundle, bundle.manifest)
    modules = ["attn_q", "attn_k", "attn_v", "attn_dense", "mlp_h_to_4h", "mlp_4h_to_h", "mlp_gate"]
    lora = {"max_rank": ADAPTER_RANK, "target_modules": modules, "max_adapters": 1}
    return _write(folder, bundle, original, lora=lora)


def write_adapter(folder: Path, cpu_bundle: Path) -> Path:
    """Write the adapter as the bundle that an export of the form ``hf-adapter`` is, unless it is there.

    Args:
        folder: The bundle's; vLLM is given its folder ``adapter``.
        cpu_bundle: The bundle of the merged guard: manifest and tokenizer are its own.
    """
    bundle = Bundle.open(cpu_bundle)
    adapter = read_shipped(SMALL.adapter_folder())
    config = orjson.dumps(adapter.peft_config(bundle.manifest.base.name))
    files = {f"adapter/{WEIGHTS}": adapter.raw, f"adapter/{CONFIG}": config}
    return _finish(folder, bundle, files, runtime="base with a LoRA adapter")


def _write(folder: Path, bundle: Bundle, model: Path, *, lora: Mapping[str, Any] | None = None) -> Path:
    if (folder / MANIFEST).is_file():
        return folder
    reader = gguf.GGUFReader(model)
    served = folder / _SERVED
    served.mkdir(parents=True, exist_ok=True)
    save_file(tensors(reader), served / "model.safetensors", metadata={"format": "pt"})
    vocabulary = _field(reader, "llama.vocab_size")
    files = {
        f"{_SERVED}/config.json": orjson.dumps(_config(reader)),
        f"{_SERVED}/generation_config.json": orjson.dumps({"eos_token_id": _end(bundle)}),
        f"{_SERVED}/tokenizer.json": _tokenizer(bundle),
        f"{_SERVED}/tokenizer_config.json": orjson.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
        ),
        "serving.json": orjson.dumps(_serving(vocabulary, lora)),
    }
    return _finish(folder, bundle, files, runtime="Hugging Face checkpoint")


def _finish(folder: Path, bundle: Bundle, files: Mapping[str, bytes], *, runtime: str) -> Path:
    """Write the small files; the manifest last, so that a folder that has it is whole."""
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    manifest = bundle.manifest.model_dump(mode="json")
    entries = {role: entry for role, entry in manifest["files"].items() if role != "model"}
    for entry in entries.values():
        (folder / entry["path"]).write_bytes((bundle.path / entry["path"]).read_bytes())
    listed = {entry["path"] for entry in entries.values()} | {MANIFEST}
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        place = path.relative_to(folder).as_posix()
        if place not in listed:
            role = "serving" if place == "serving.json" else f"served_{number}"
            entries[role] = {"path": place, "sha256": file_digest(path), "bytes": path.stat().st_size}
    manifest |= {"files": entries, "runtime": runtime, "quantisation": "float32"}
    manifest["limits"] = {"max_prompt_tokens": MAX_PROMPT_TOKENS}
    document = json.dumps(manifest, ensure_ascii=False, indent=2).encode()
    Manifest.parse(document)
    (folder / MANIFEST).write_bytes(document)
    return folder


def tensors(reader: Any) -> dict[str, Any]:
    """Every tensor of a Llama in float32, under the names and in the order that transformers takes."""
    found = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(np.array(tensor.data), tensor.tensor_type).astype(np.float32)
        name = tensor.name
        if name.startswith("blk."):
            _, layer, kind, _ = name.split(".")
            if kind in ("attn_q", "attn_k"):
                values = halves(values, _field(reader, _HEADS if kind == "attn_q" else _KV_HEADS))
            found[f"model.layers.{layer}.{_NAMES[kind]}.weight"] = np.ascontiguousarray(values)
        elif name in _NAMES:
            found[_NAMES[name]] = values
    return found


def halves(rows: Any, heads: int) -> Any:
    """Rows of Q or K as transformers pairs them: the first half of a head with the second. llama.cpp pairs neighbours."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _field(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _config(reader: Any) -> dict[str, Any]:
    def of(key: str) -> Any:
        return _field(reader, f"llama.{key}")

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("embedding_length") // of("attention.head_count"),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_theta": of("rope.freq_base"),
        "vocab_size": of("vocab_size"),
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
        "torch_dtype": "float32",
    }


def _end(bundle: Bundle) -> int:
    return bundle.manifest.tokenizer.control_tokens["<|im_end|>"]


def _tokenizer(bundle: Bundle) -> bytes:
    """``tokenizer.json`` with its control tokens inside, as a checkpoint has it."""
    control = bundle.manifest.tokenizer.control_tokens
    document = orjson.loads(bundle.file("tokenizer").read_bytes())
    document["model"]["vocab"] |= control
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    document["added_tokens"] = [
        {"id": number, "content": text, "special": True, **plain} for text, number in control.items()
    ]
    return orjson.dumps(document)


def _serving(vocabulary: int, lora: Mapping[str, Any] | None) -> dict[str, Any]:
    longest = MAX_PROMPT_TOKENS + 16  # the forced label and the head of the categories
    return {
        "schema_version": "1.0",
        "runtime": "pytorch",
        "tensorrt_llm": "1.3",
        "folder": _SERVED,
        "vocab_size": vocabulary,
        "max_batch_size": 16,
        "max_num_tokens": 2048,
        "max_input_len": longest,
        "max_seq_len": longest + 64,
        "lora": lora,
    }
