"""Bundles of the CPU model with adapters merged in that were made of chance: no training, other scores."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.bundle.bundle import file_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CHANGED = "blk.29.ffn_down.weight"
_SCALE = 3.0
"""Of the change beside the weights: scores move by far more than the company of other prompts moves them."""


def with_random_adapters(base: Path, folder: Path, seeds: Mapping[str, int]) -> dict[str, Path]:
    """Write bundles that differ from ``base`` by a matrix of rank 1 on one of its layers.

    Args:
        base: The CPU model's bundle.
        folder: Where to write them, each in a folder of its adapter's name.
        seeds: Of the matrices, by the adapter's name; another seed is another adapter.
    """
    import gguf  # noqa: PLC0415 - only who has the CPU model has it
    import numpy as np  # noqa: PLC0415 - the same

    (tensor,) = (one for one in gguf.GGUFReader(base / "model.gguf").tensors if one.name == _CHANGED)
    weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    made = {}
    for name, seed in seeds.items():
        made[name] = shutil.copytree(base, folder / name)
        draw = np.random.default_rng(seed)
        rows, columns = (draw.standard_normal(size) for size in weights.shape)
        delta = np.outer(rows, columns)
        delta *= _SCALE * np.linalg.norm(weights) / np.linalg.norm(delta)
        merged = gguf.quants.quantize((weights + delta).astype(np.float32), tensor.tensor_type)
        with (made[name] / "model.gguf").open(
            "r+b"
        ) as file:  # the same shape and kind, so the same bytes around it
            file.seek(tensor.data_offset)
            file.write(merged.tobytes())
        manifest = orjson.loads((made[name] / "manifest.json").read_bytes())
        manifest["adapter"] = {"name": name, "digest": f"sha256:{seed:064x}"}
        manifest["files"]["model"]["sha256"] = file_digest(made[name] / "model.gguf")
        (made[name] / "manifest.json").write_bytes(orjson.dumps(manifest))
    return made
