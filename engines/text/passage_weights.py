"""The weights that point to risky passages, the features that they weigh, and what they make of texts. Needs numpy.

Features are hashed runs of characters and of words. No vocabulary is kept: a run is its hash. All texts of a call
are hashed at once, in arrays, so that time and memory are linear in their length, and a run that a text repeats
counts once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias
from zlib import crc32

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.bundle import Sha256, Text
from sluicegate.engines.errors import BundleError
from sluicegate.engines.text.forms import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


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


_FAR = 30.0


@dataclass(frozen=True, slots=True)
class JudgedTexts:
    """What weights find in texts."""

    probabilities: Array
    """``[texts, 3]``: safe, controversial, unsafe; not yet calibrated."""
    known: Array
    """``[texts]``: share of a text's features that training rows had."""


class Linear:
    """A linear model over the features that are known; the weight of one is the less the more a text has.

    Args:
        arrays: ``features``, rising; ``weights``, three of each; ``intercepts``.

    Raises:
        ValueError: The arrays do not go together.
    """

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        if {*arrays} != {"features", "weights", "intercepts"}:
            raise ValueError("other arrays than features, weights and intercepts")
        features, weights, intercepts = (arrays[name] for name in ("features", "weights", "intercepts"))
        if (features.dtype, weights.dtype, intercepts.dtype) != (np.uint32, np.float16, np.float32):
            raise ValueError("other types than uint32, float16 and float32")
        if (
            features.ndim != 1
            or weights.shape != (len(features), 3)
            or intercepts.shape != (3,)
            or not len(features)
        ):
            raise ValueError("shapes that do not go together")
        if (np.diff(features.astype(np.int64)) <= 0).any() or features[-1] >= 1 << BITS:
            raise ValueError("features that do not rise, or are too large")
        if not (np.isfinite(weights).all() and np.isfinite(intercepts).all()):
            raise ValueError("weights that are no numbers")
        # A table of all features is 16 MiB and answers at once; row 0 is for unknown ones.
        self._row = np.zeros(1 << BITS, dtype=np.int32)
        self._row[features] = np.arange(1, len(features) + 1, dtype=np.int32)
        self._weights = np.concatenate([np.zeros((1, 3), np.float32), weights.astype(np.float32)])
        self._intercepts = intercepts

    def judged(self, texts: Sequence[str]) -> JudgedTexts:
        """What it finds in texts in their plain form, at least one; each has a feature at least."""
        found = hashed(texts)
        rows, starts = self._row[found.ids], found.starts[:-1]
        known = np.add.reduceat((rows > 0).astype(np.float32), starts)
        sums = np.add.reduceat(self._weights[rows], starts, axis=0)
        return JudgedTexts(self._probabilities(sums, known), known / np.diff(found.starts))

    def judged_within(self, text: str, firsts: Array, ends: Array) -> Array:
        """What it finds in ranges of one text in its plain form, by running sums: a text of any length is read once.

        Args:
            text: In its plain form.
            firsts: ``[ranges]``: index of the first character of each.
            ends: ``[ranges]``: one past the last.

        Returns:
            ``[ranges, 3]``, as :attr:`JudgedTexts.probabilities`. A run that a range holds twice counts twice here.
        """
        sums, known = np.zeros((len(firsts), 3)), np.zeros(len(firsts))
        for family in located(text):
            rows = self._row[family.ids]
            low = np.searchsorted(family.firsts, firsts)
            high = np.maximum(low, np.searchsorted(family.ends, ends, side="right"))
            running = np.zeros((len(rows) + 1, 3))
            np.cumsum(self._weights[rows], axis=0, out=running[1:], dtype=np.float64)
            counted = np.concatenate(([0], np.cumsum(rows > 0)))
            sums += running[high] - running[low]
            known += counted[high] - counted[low]
        return self._probabilities(sums, known)

    def _probabilities(self, sums: Array, known: Array) -> Array:
        logits = sums / np.sqrt(np.maximum(known, 1))[:, None] + self._intercepts
        # One severity against the others, three times; clipped, so that three refusals can still be compared.
        odds = 1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR).astype(np.float64)))
        return odds / odds.sum(axis=1, keepdims=True)


MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"
_MANIFEST_BYTES: Final = 1 << 20
_WEIGHTS_BYTES: Final = 20_000_000
_AGAIN: Final = "install Sluicegate again"

_PART = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeightsFile(BaseModel):
    """The file of weights, always :data:`WEIGHTS`."""

    model_config = _PART

    sha256: Sha256
    bytes: int = Field(ge=1, le=_WEIGHTS_BYTES)


class WeightsSource(BaseModel):
    """Where some of the training rows are from."""

    model_config = _PART

    licence: Text | None
    rows: int = Field(ge=1)


class WeightsManifest(BaseModel):
    """Content of ``manifest.json`` beside the weights: what they were learnt from."""

    model_config = _PART

    schema_version: Literal["1.0"] = "1.0"
    features: Sha256
    """Of a fixed text, as the version that learnt them hashes it."""
    weights: WeightsFile
    data: Sha256
    """Of the training rows with their labels."""
    rows: int = Field(ge=1)
    sources: Annotated[dict[Text, WeightsSource], Field(max_length=1024)]

    def content(self) -> bytes:
        """The file."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, name: str = MANIFEST) -> Self:
        """Read the file's content.

        Raises:
            BundleError: Which field is wrong, and the fix.
        """
        try:
            return cls.model_validate_json(raw, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            raise BundleError(f"{name}: {where}: {first['msg'][:200]}; {_AGAIN}") from None


def read_folder(folder: Path) -> tuple[WeightsManifest, Linear]:
    """The manifest and the weights of a folder.

    Raises:
        BundleError: What does not fit, and the fix.
        ImportError: A library of the extra ``passages`` is missing.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - an extra
    from safetensors.numpy import load  # noqa: PLC0415 - the same

    manifest = WeightsManifest.parse(_read(folder / MANIFEST, _MANIFEST_BYTES), str(folder / MANIFEST))
    if manifest.features != probe():
        raise BundleError(f"{folder / MANIFEST}: made by a version that reads texts in another way; {_AGAIN}")
    path = folder / WEIGHTS
    raw = _read(path, manifest.weights.bytes)
    found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    if found != manifest.weights.sha256:
        raise BundleError(f"{path} is {found}, the manifest names {manifest.weights.sha256}; {_AGAIN}")
    try:
        return manifest, Linear(load(raw))
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise BundleError(
            f"{path} holds no weights of this kind ({type(error).__name__}); {_AGAIN}"
        ) from error


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise BundleError(f"{path}: no such file; {_AGAIN}")
        with path.open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); check your rights") from error
    if len(raw) > limit_bytes:
        raise BundleError(f"{path} has more than {limit_bytes:,} bytes; {_AGAIN}")
    return raw
