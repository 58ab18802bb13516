"""Public benchmarks: rows of them never train, or what is measured on them later means nothing.

The package brings hashes of their texts, no text: ``benchmarks/shipped_adapter/public_benchmarks.py`` writes the file.
A text is told by its letters and numbers alone: case, spaces, punctuation and emoji do not hide it.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Self

import orjson

from sluicegate.engines.adapt.data.rows import Row, bare_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = "public-benchmarks.bin"
_HASH_BYTES = 5  # among fifty thousand rows, one in five hundred runs takes one row wrongly for a benchmark's
_LEAST_BYTES = 24  # of a bare form: what is shorter is said by anybody
_NAMED = {
    "HateCheck": re.compile(r"hate.?check", re.IGNORECASE),
    "XSTest": re.compile(r"\bxs.?test", re.IGNORECASE),
    "SimpleSafetyTests": re.compile(r"simple.?safety.?tests?", re.IGNORECASE),
    "OpenAI moderation": re.compile(r"openai.?mod|moderation.?api.?release", re.IGNORECASE),
}


def text_hash(text: str) -> bytes | None:
    """What stands for a text; None for one that is too short to be told."""
    bare = bare_form(text).encode()
    return hashlib.blake2b(bare, digest_size=_HASH_BYTES).digest() if len(bare) >= _LEAST_BYTES else None


class PublicBenchmarks:
    """Tells rows of public benchmarks.

    Args:
        hashes: By benchmark, the hashes of its texts.
    """

    def __init__(self, hashes: Mapping[str, Iterable[bytes]]) -> None:
        self._names = {one: name for name, found in hashes.items() for one in found}

    @classmethod
    def shipped(cls) -> Self:
        """Those that the package knows."""
        raw = (files("sluicegate.engines") / "assets" / "public_benchmarks" / FILE).read_bytes()
        head, _, body = raw.partition(b"\n")
        hashes, at = {}, 0
        for name, count in orjson.loads(head).items():
            hashes[name] = [
                body[n : n + _HASH_BYTES] for n in range(at, at + count * _HASH_BYTES, _HASH_BYTES)
            ]
            at += count * _HASH_BYTES
        return cls(hashes)

    def name_of(self, row: Row) -> str | None:
        """The benchmark that a row is of, by its id, its source or its text; None for any other."""
        for name, pattern in _NAMED.items():
            if pattern.search(row.id) or pattern.search(row.source):
                return name
        found = text_hash(row.text)
        return None if found is None else self._names.get(found)


def packed(hashes: Mapping[str, Iterable[bytes]]) -> bytes:
    """The content of the file: how many each has, then the hashes."""
    ordered = {name: sorted(set(found)) for name, found in hashes.items()}
    return (
        orjson.dumps({name: len(found) for name, found in ordered.items()})
        + b"\n"
        + b"".join(one for found in ordered.values() for one in found)
    )
