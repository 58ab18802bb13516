"""Bundles of candidates: an adapter merged into the published weights, and an adapter that is spoiled on purpose."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from sluicegate.engines.bundle import MANIFEST, Bundle, file_digest
from sluicegate.engines.cpu_model import SMALL, GgufModel, PeftAdapter, original_beside, read_shipped
from sluicegate.engines.cpu_model.gguf_model import merge

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.bundle import Manifest


def spoiled(adapter: PeftAdapter) -> PeftAdapter:
    """An adapter that looks the wrong way: what it changes of queries and keys has its sign turned. It still answers with labels."""
    factors = {
        module: (a, -b if module.endswith(("q_proj", "k_proj")) else b)
        for module, (a, b) in adapter.factors.items()
    }
    return replace(adapter, factors=factors)


def faint(adapter: PeftAdapter, strength: float) -> PeftAdapter:
    """An adapter at a part of its strength: most of the way back to the base, which itself answers with no label."""
    return replace(adapter, alpha=adapter.alpha * strength)


def shipped_adapter() -> PeftAdapter:
    """The adapter of the small CPU model."""
    return read_shipped(SMALL.adapter_folder())


def write_bundle(adapter: PeftAdapter, name: str, folder: Path) -> Path:
    """Write a bundle as the shipped one, with another adapter in it. The published weights have been fetched."""
    incumbent = Bundle.open(SMALL.bundle_path(base=False))
    original = original_beside(SMALL.bundle_path(base=True), base_manifest())
    folder.mkdir(parents=True)
    merge(GgufModel(original), adapter, folder / "model.gguf", name=name)
    shutil.copyfile(incumbent.path / "tokenizer.json", folder / "tokenizer.json")
    manifest = json.loads((incumbent.path / MANIFEST).read_bytes())
    model = folder / "model.gguf"
    manifest["name"] = name
    manifest["adapter"] = {"name": name, "digest": file_digest(model)}
    manifest["evaluation"] = {}
    manifest["files"] = {
        "model": {"path": model.name, "sha256": file_digest(model), "bytes": model.stat().st_size},
        "tokenizer": manifest["files"]["tokenizer"],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    Bundle.open(folder)
    return folder


def base_manifest() -> Manifest:
    """What the manifest of the base says."""
    return Bundle.open(SMALL.bundle_path(base=True)).manifest
