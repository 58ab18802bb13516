"""The small bundle as one for TensorRT-LLM: an engine's or a checkpoint's folder with nothing real in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from support.small_bundle import (
    file_entry,
    small_manifest,
    small_tokenizer,
    tokenizer_json,
    write_small_bundle,
)

if TYPE_CHECKING:
    from pathlib import Path

PADDED = 640
"""Rows of the logits: more than the tokenizer has ids, as models have."""


def small_serving(runtime: str, /, **changes: Any) -> dict[str, Any]:
    """``serving.json`` of the small bundle as plain values."""
    assert small_tokenizer().vocabulary_size < PADDED
    built = {"gather_generation_logits": True, "paged_context_fmha": True} if runtime == "engine" else {}
    return {
        "schema_version": "1.0",
        "runtime": runtime,
        "tensorrt_llm": "1.2.1",
        "folder": "served",
        "vocab_size": PADDED,
        "max_batch_size": 8,
        "max_num_tokens": 1024,
        "max_input_len": 528,
        "max_seq_len": 592,
        **built,
        **changes,
    }


def write_trtllm_bundle(folder: Path, runtime: str, /, **changes: Any) -> Path:
    """Write it, with these changes to ``serving.json``."""
    serving = small_serving(runtime, **changes)
    limits = {
        name: serving[name] for name in ("max_input_len", "max_seq_len", "max_num_tokens", "max_batch_size")
    }
    built = {**limits, "gather_generation_logits": True}
    files: dict[str, bytes] = {"served/tokenizer.json": b"{}", "hf/tokenizer.json": tokenizer_json()}
    if runtime == "engine":
        files["served/rank0.engine"] = b"no engine"
        files["served/config.json"] = orjson.dumps(
            {"pretrained_config": {"vocab_size": PADDED}, "build_config": built}
        )
    else:
        files["served/model.safetensors"] = b"no weights"
        files["served/config.json"] = orjson.dumps({"vocab_size": PADDED})
    files["serving.json"] = orjson.dumps(serving)
    manifest = small_manifest()
    for path, raw in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(raw)
        role = "serving" if path == "serving.json" else path.translate(str.maketrans("/.", "__")).lower()
        manifest["files"][role] = file_entry(path, raw)
    manifest["runtime"] = f"TensorRT-LLM 1.2.1 {runtime}"
    return write_small_bundle(folder, manifest)
