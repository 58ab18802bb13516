"""The weights of a screen, and what they make of texts. Pure; needs numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen.features import BITS, Array, hashed, probe
from sluicegate.engines.screen.manifest import AGAIN, MANIFEST, MANIFEST_BYTES, WEIGHTS, ScreenManifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_FAR = 30.0


@dataclass(frozen=True, slots=True)
class JudgedByScreen:
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

    def judged(self, texts: Sequence[str]) -> JudgedByScreen:
        """What it finds in texts in their plain form, at least one; each has a feature at least."""
        found = hashed(texts)
        rows, starts = self._row[found.ids], found.starts[:-1]
        known = np.add.reduceat((rows > 0).astype(np.float32), starts)
        sums = np.add.reduceat(self._weights[rows], starts, axis=0)
        logits = sums / np.sqrt(np.maximum(known, 1))[:, None] + self._intercepts
        # One severity against the others, three times; clipped, so that three refusals can still be compared.
        odds = 1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR).astype(np.float64)))
        return JudgedByScreen(odds / odds.sum(axis=1, keepdims=True), known / np.diff(found.starts))


def read_folder(folder: Path) -> tuple[ScreenManifest, Linear]:
    """The manifest and the weights of a folder.

    Raises:
        ScreenError: What does not fit, and the fix.
        ImportError: A library of the extra ``screen`` is missing.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - an extra
    from safetensors.numpy import load  # noqa: PLC0415 - the same

    manifest = ScreenManifest.parse(_read(folder / MANIFEST, MANIFEST_BYTES), str(folder / MANIFEST))
    if manifest.features != probe():
        raise ScreenError(
            f"{folder / MANIFEST}: made by a version that reads texts in another way; {AGAIN}, or use that version"
        )
    path = folder / WEIGHTS
    raw = _read(path, manifest.weights.bytes)
    found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    if found != manifest.weights.sha256:
        raise ScreenError(
            f"{path} is {found}, the manifest names {manifest.weights.sha256}; copy the folder again, whole"
        )
    try:
        return manifest, Linear(load(raw))
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ScreenError(f"{path} holds no weights of a screen ({type(error).__name__}); {AGAIN}") from error


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ScreenError(f"{path}: no such file; name the folder that `sluicegate adapt screen` wrote")
        with path.open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise ScreenError(f"{path} cannot be read ({error.strerror}); check your rights") from error
    if len(raw) > limit_bytes:
        raise ScreenError(f"{path} has more than {limit_bytes:,} bytes; copy the folder again, whole")
    return raw
