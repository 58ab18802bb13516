"""Features: what a screen sees of a text, hashed runs of characters and of words. Pure; needs numpy.

No vocabulary is kept: a run is its hash. All texts of a call are hashed at once, in arrays, so that time and memory
are linear in their length, and a run that a text repeats counts once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zlib import crc32

import numpy as np

from sluicegate.engines.text.forms import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Array: TypeAlias = Any

BITS: Final = 22
"""Features are numbers below ``2**BITS``."""

_CHARACTERS: Final = (2, 3, 4, 5)
_WORDS: Final = (1, 2)
_WORD = re.compile(r"\w+")
_DIGITS = str.maketrans(dict.fromkeys("123456789", "0"))
# Odd numbers whose bits look random: the golden ratio's, and one of MurmurHash's.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xC6A4A7935BD1E995)
_PROBE = "Ｙou are 1 of 20 idi0ts!! 你是一个很好的人 ünïcode Привет مرحبا"


@dataclass(frozen=True, slots=True)
class Hashed:
    """Features of some texts: of text ``n`` those from ``starts[n]`` to before ``starts[n + 1]``, each once, rising."""

    ids: Array
    starts: Array


def plain(text: str) -> str:
    """The form that is hashed: folded, small letters, one digit for all, single spaces, one at either end."""
    return f" {' '.join(fold(text).text.lower().translate(_DIGITS).split())} "


def hashed(texts: Sequence[str]) -> Hashed:
    """Features of texts in their plain form."""
    words = [[crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(one)] for one in texts]
    # A lone surrogate is a character like any other here.
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    keys = [
        *_runs(characters, [len(one) for one in texts], _CHARACTERS),
        *_runs(np.array([word for one in words for word in one], dtype=np.uint64), map(len, words), _WORDS),
    ]
    found = np.sort(np.concatenate(keys))  # np.unique hashes, and takes sixty times as long
    found = found[np.diff(found, prepend=~found[:1]) != 0]
    starts = np.searchsorted(found, np.arange(len(texts) + 1, dtype=np.uint64) << np.uint64(BITS))
    return Hashed((found & np.uint64((1 << BITS) - 1)).astype(np.uint32), starts)


@dataclass(frozen=True, slots=True)
class Family:
    """All runs of one kind and length in a text, in order: where each begins and ends, and its feature."""

    firsts: Array
    """Index of a run's first character."""
    ends: Array
    """One past its last."""
    ids: Array


def located(text: str) -> list[Family]:
    """The features of one text that is in its plain form, each where it stands, and as often as it stands there."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    words = [(word.start(), word.end()) for word in _WORD.finditer(text)]
    hashes = [crc32(text[first:end].encode("utf-8", "surrogatepass")) for first, end in words]
    places = np.array(words, dtype=np.int64).reshape(-1, 2)
    one = np.arange(len(characters), dtype=np.int64)
    families = []
    for symbols, firsts, ends, lengths in (
        (characters, one, one + 1, _CHARACTERS),
        (np.array(hashes, dtype=np.uint64), places[:, 0], places[:, 1], _WORDS),
    ):
        for length, keys in zip(lengths, _runs(symbols, [len(symbols)], lengths), strict=True):
            count = len(keys)
            families.append(Family(firsts[:count], ends[length - 1 :], keys.astype(np.uint32)))
    return families


def probe() -> str:
    """``sha256:…`` of the features of a fixed text: another version's features are seen by it."""
    return f"sha256:{hashlib.sha256(hashed([plain(_PROBE)]).ids.astype('<u4').tobytes()).hexdigest()}"


def _runs(symbols: Array, sizes: Any, lengths: Sequence[int]) -> Iterator[Array]:
    """Keys of all runs of these lengths that lie in one text: its number, then the run's hash."""
    symbols = symbols.astype(np.uint64)
    sizes = [*sizes]
    owner = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    run = symbols
    for length in range(1, lengths[-1] + 1):
        if length > 1:  # arithmetic modulo 2**64 is meant
            run = run[:-1] * _STEP + symbols[length - 1 :]
        if length in lengths:
            first, last = owner[: len(run)], owner[length - 1 :]
            whole = first == last
            salted = (run[whole] + np.uint64(length + 16 * lengths[0])) * _MIX
            salted ^= salted >> np.uint64(32)
            yield (first[whole] << np.uint64(BITS)) | (salted * _STEP >> np.uint64(64 - BITS))
