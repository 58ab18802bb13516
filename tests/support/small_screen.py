"""A small screen of our own making: a few words that are friendly, a few that are not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from sluicegate.engines.bundle.calibration import Calibration, Temperature
from sluicegate.engines.screen.manifest import (
    MANIFEST,
    WEIGHTS,
    ScreenGroup,
    ScreenManifest,
    ScreenSource,
    Weights,
)
from sluicegate.engines.screen.weights import hashed, plain, probe
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from pathlib import Path

FRIENDLY = "what a lovely garden, thank you for the flowers"
HOSTILE = "you worthless filthy vermin, nobody wants scum"
STEPS = ((0.9, 0.1), (0.95, 0.03), (0.97, 0.01))
GROUP = ScreenGroup(
    kind="post",
    language="en",
    rows=500,
    longest=300,
    least_known=0.5,
    scripts=("LATIN",),
    safe=STEPS,
    unsafe=STEPS,
)


def post(text: str = FRIENDLY, **fields: Any) -> Post:
    return Post(**{"id": "p", "text": text, "language": "en", **fields})


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


def write_screen(
    folder: Path, *, raw: bytes | None = None, group: ScreenGroup = GROUP, **changes: Any
) -> Path:
    """A folder; ``changes`` go into its manifest unchecked, so that it may be wrong.

    Args:
        folder: Made if it is missing.
        raw: The weights' file in place of the small one's.
        group: The one that it holds.
        changes: Fields of the manifest.
    """
    raw = bytes(save(arrays())) if raw is None else raw
    sha256 = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    manifest = ScreenManifest(
        name="small",
        features=probe(),
        weights=Weights(sha256=sha256, bytes=len(raw)),
        data=f"sha256:{'0' * 64}",
        rows=1000,
        sources={"own": ScreenSource(licence="Apache-2.0", rows=1000)},
        calibration=Calibration(data=f"sha256:{'0' * 64}", fallback=Temperature(temperature=2.0)),
        groups=(group,),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(raw)
    (folder / MANIFEST).write_bytes(manifest.model_copy(update=changes).content())
    return folder
