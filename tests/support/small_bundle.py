"""A complete engine bundle of a few kilobytes: real tokenizer, no weights worth the name."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from sluicegate.engines.backends.dialects import Vocabulary
from sluicegate.engines.bundle.manifest import Label, LabelMap
from sluicegate.engines.bundle.tokenizer import BundleTokenizer
from sluicegate.engines.layouts import CompactLayout
from sluicegate.schemas import CATEGORIES, NO_CATEGORY

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>")

# How Qwen's tokenizer cuts text before it merges bytes (public: its tokenizer.json).
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = [
    " Safe Controversial Unsafe None",
    *(f" {name}" for name in CATEGORIES),
    "\n\nUSER: Hello! How are you?\n\nASSISTANT: Fine.\n\n<END CONVERSATION>\n\n<BEGIN CONVERSATION>\n\n",
    "Safety:\nCategories:\nRefusal:\nReason: region language",
]


@cache
def tokenizer_json() -> bytes:
    """A byte-level BPE tokenizer trained on the words that must be told apart."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_WORDS * 4, trainer)
    return tokenizer.to_str().encode()


@cache
def control_tokens() -> dict[str, int]:
    """Control tokens with ids right after the vocabulary."""
    size = len(orjson.loads(tokenizer_json())["model"]["vocab"])
    return {text: size + index for index, text in enumerate(CONTROL)}


@cache
def small_tokenizer() -> BundleTokenizer:
    """The tokenizer of the small bundle."""
    return BundleTokenizer(tokenizer_json(), control_tokens())


def small_vocabulary(*, reasons: bool = False) -> Vocabulary:
    """The tokens that a dialect works with, of the small bundle."""
    tokenizer = small_tokenizer()
    labels = {
        name.lower(): Label(f" {name}", tuple(tokenizer.encode_static(f" {name}")))
        for name in ("Safe", "Controversial", "Unsafe")
    }
    categories = {name: tokenizer.encode_static(f" {name}")[0] for name in (*CATEGORIES, NO_CATEGORY)}
    return Vocabulary.of(tokenizer, LabelMap(**labels), categories, reasons=reasons)


def small_manifest() -> dict[str, Any]:
    """The small bundle's manifest as plain values, for tests to change."""
    tokenizer = small_tokenizer()
    weights = b"no weights"
    return {
        "schema_version": "1.0",
        "name": "small",
        "base": {"name": "none", "revision": "1"},
        "adapter": None,
        "quantisation": "none",
        "runtime": "none",
        "gpu_arch": None,
        "layout": {"name": "compact", "digest": CompactLayout().digest},
        "tokenizer": {"digest": tokenizer.digest, "control_tokens": control_tokens()},
        "labels": {
            severity: {
                "text": f" {severity.title()}",
                "token_ids": tokenizer.encode_static(f" {severity.title()}"),
            }
            for severity in ("safe", "controversial", "unsafe")
        },
        "categories": list(CATEGORIES),
        "limits": {"max_prompt_tokens": 512},
        "files": {
            "model": file_entry("model.bin", weights),
            "tokenizer": file_entry("tokenizer.json", tokenizer_json()),
        },
        "licence": {"spdx": "Apache-2.0", "attribution": "made by a test"},
        "evaluation": {},
    }


def file_entry(path: str, raw: bytes) -> dict[str, Any]:
    """A manifest's entry for a file of this content."""
    return {"path": path, "sha256": f"sha256:{hashlib.sha256(raw).hexdigest()}", "bytes": len(raw)}


def write_small_bundle(folder: Path, manifest: dict[str, Any] | None = None) -> Path:
    """Write the small bundle, with this manifest or its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(b"no weights")
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest or small_manifest()))
    return folder
