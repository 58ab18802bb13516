"""Bundles of the CPU model with other scores, as if adapters were merged in: no training, and as sure of its labels."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.bundle.bundle import Bundle, file_digest

if TYPE_CHECKING:
    from pathlib import Path

_WRITES = ("output.weight", "token_embd.weight")
"""What a model writes tokens by: a matrix of its own, else the one that it reads them by."""


def with_opposed_adapters(base: Path, folder: Path, *, same: str, opposed: str) -> dict[str, Path]:
    """Write two bundles: one scores as ``base`` does, the other says unsafe where that says safe.

    Args:
        base: A CPU model's bundle. Two rows of the matrix that it writes tokens by in each other's place are two
            labels in each other's place.
        folder: Where to write them, each in a folder of its adapter's name.
        same: Name of the adapter that changes nothing.
        opposed: Name of the other one.
    """
    import gguf  # noqa: PLC0415 - only who has the CPU model has it

    labels = Bundle.open(base, verify=False).manifest.labels
    rows = [labels.safe.token_ids[0], labels.unsafe.token_ids[0]]
    made = {name: shutil.copytree(base, folder / name) for name in (same, opposed)}
    model = made[opposed] / "model.gguf"
    tensors = {one.name: one for one in gguf.GGUFReader(model, "r+").tensors}
    tensor = next(tensors[name] for name in _WRITES if name in tensors)
    tensor.data[rows] = tensor.data[rows[::-1]]
    tensor.data.flush()
    for number, (name, path) in enumerate(made.items()):
        manifest = orjson.loads((path / "manifest.json").read_bytes())
        manifest["adapter"] = {"name": name, "digest": f"sha256:{number:064x}"}
        manifest["files"]["model"]["sha256"] = file_digest(path / "model.gguf")
        (path / "manifest.json").write_bytes(orjson.dumps(manifest))
    return made
