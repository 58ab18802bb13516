"""A Qwen3 checkpoint of a few kilobytes in the published form: the small vocabulary, the guard's template, no weights worth the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from support.chat_template import TEMPLATE
from support.small_bundle import control_tokens, tokenizer_json

if TYPE_CHECKING:
    from pathlib import Path

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM = 2, 32, 48, 4, 2, 8


def qwen3_config() -> dict[str, Any]:
    """``config.json`` as Qwen3's makers write it."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": max(control_tokens().values()) + 1,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "rope_scaling": None,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_cache": True,
        "bos_token_id": control_tokens()["<|endoftext|>"],
        "eos_token_id": control_tokens()["<|im_end|>"],
    }


def published_tokenizer() -> bytes:
    """``tokenizer.json`` with its control tokens inside, as checkpoints have it."""
    document = orjson.loads(tokenizer_json())
    document["added_tokens"] = [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for text, number in control_tokens().items()
    ]
    return orjson.dumps(document)


def write_tiny_checkpoint(folder: Path) -> Path:
    """Write it; ``model.safetensors`` holds no tensors."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(orjson.dumps(qwen3_config()))
    (folder / "tokenizer.json").write_bytes(published_tokenizer())
    (folder / "tokenizer_config.json").write_bytes(
        orjson.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"})
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder
