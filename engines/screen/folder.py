"""A screen's folder: two files, read within bounds and checked before anything is made of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sluicegate.engines.screen.errors import ScreenError
from sluicegate.engines.screen.features import probe
from sluicegate.engines.screen.manifest import AGAIN, MANIFEST, MANIFEST_BYTES, WEIGHTS, Manifest
from sluicegate.engines.screen.weights import Linear

if TYPE_CHECKING:
    from pathlib import Path


def read_folder(folder: Path) -> tuple[Manifest, Linear]:
    """The manifest and the weights of a folder.

    Raises:
        ScreenError: What does not fit, and the fix.
        ImportError: A library of the extra ``screen`` is missing.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - an extra
    from safetensors.numpy import load  # noqa: PLC0415 - the same

    manifest = Manifest.parse(_read(folder / MANIFEST, MANIFEST_BYTES), str(folder / MANIFEST))
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
