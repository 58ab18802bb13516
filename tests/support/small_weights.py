"""Small weights of our own making: a few words that are friendly, a few that are not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from sluicegate.engines.text.passage_weights import (
    MANIFEST,
    WEIGHTS,
    WeightsFile,
    WeightsManifest,
    WeightsSource,
    hashed,
    plain,
    probe,
)

if TYPE_CHECKING:
    from pathlib import Path

FRIENDLY = "what a lovely garden, thank you for the flowers"
HOSTILE = "you worthless filthy vermin, nobody wants scum"


def arrays(friendly: str = FRIENDLY, hostile: str = HOSTILE) -> dict[str, Any]:
    kind, hard = (set(hashed([plain(one)]).ids.tolist()) for one in (friendly, hostile))
    features = np.array(sorted(kind | hard), dtype=np.uint32)
    weights = np.array(
        [
            [2.0 * (one in kind) - 2.0 * (one in hard), -1, 2.0 * (one in hard) - 2.0 * (one in kind)]
            for one in features.tolist()
        ],
        dtype=np.float16,
    )
    return {"features": features, "weights": weights, "intercepts": np.zeros(3, np.float32)}


def write_weights(folder: Path, *, raw: bytes | None = None, **changes: Any) -> Path:
    """A folder; ``changes`` go into its manifest unchecked, so that it may be wrong.

    Args:
        folder: Made if it is missing.
        raw: The weights' file in place of the small one's.
        changes: Fields of the manifest.
    """
    raw = bytes(save(arrays())) if raw is None else raw
    manifest = WeightsManifest(
        features=probe(),
        weights=WeightsFile(sha256=f"sha256:{hashlib.sha256(raw).hexdigest()}", bytes=len(raw)),
        data=f"sha256:{'0' * 64}",
        rows=1000,
        sources={"own": WeightsSource(licence="Apache-2.0", rows=1000)},
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(raw)
    (folder / MANIFEST).write_bytes(manifest.model_copy(update=changes).content())
    return folder
