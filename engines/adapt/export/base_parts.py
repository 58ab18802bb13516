"""What an adapter was trained on, as an export needs it: a manifest of the base alone, and its small files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from sluicegate.engines.adapt.train import recipe
from sluicegate.engines.adapt.train.base import open_base, without_control_tokens
from sluicegate.engines.bundle import (
    Base,
    Bundle,
    BundleLimits,
    LayoutRef,
    Licence,
    Manifest,
    TokenizerRef,
    file_digest,
)
from sluicegate.engines.cpu_model import base_model, original_beside
from sluicegate.engines.errors import ExportError
from sluicegate.engines.layouts import LAYOUTS, CompactLayout, Layout, LayoutName, VendorLayout
from sluicegate.schemas import CATEGORIES

PLAN: Final = "plan.json"
_PLAN_BYTES = 4 << 20
_TOKENIZER_BYTES = 64 << 20
_REASONS_SHARE = 0.1
_PROMPT_TOKENS = 2048  # the CPU model's limit; a checkpoint says nothing of what its server will take
UNKNOWN: Final = "see the checkpoint"
"""Stands for what a checkpoint's folder does not tell."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What ``plan.json`` beside an adapter tells of its training; None where there is none."""

    base: recipe.TrainingBase | None = None
    layout_digest: str | None = None
    tokenizer_digest: str | None = None
    digest: str | None = None
    """Of the plan: recipe, base and data."""
    reasons: bool = False
    """True if it learnt to give reasons: a tenth of its rows or more had one."""


@dataclass(frozen=True, slots=True)
class BaseParts:
    """A base, opened; its weights are not read."""

    folder: Path
    gguf: Path | None
    """The weights as published, where they are a GGUF; else there are safetensors in ``folder``."""
    manifest: Manifest
    """As a bundle of the base alone would have it; ``files`` is empty."""
    small_files: dict[str, tuple[str, bytes]]
    """Role to file name and content: tokenizer, and the layout of a checkpoint's own template."""


def read_plan(adapter: Path) -> Trained:
    """Read the plan of the training that an adapter's folder belongs to.

    Args:
        adapter: Folder of the adapter; ``plan.json`` lies in the one above.

    Raises:
        ExportError: The file is there and cannot be used.
    """
    path = adapter.absolute().parent / PLAN
    if not path.is_file():
        return Trained()
    try:
        with path.open("rb") as stream:
            document: dict[str, Any] = orjson.loads(stream.read(_PLAN_BYTES))
        return Trained(
            recipe.TrainingBase.model_validate(document["recipe"]["base"]),
            str(document["layout_digest"]),
            str(document["tokenizer_digest"]),
            str(document["digest"]),
            _learnt_reasons(document),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path} is not as `sluicegate adapt train` writes it; take the adapter out of that folder"
        ) from error


def _learnt_reasons(plan: dict[str, Any]) -> bool:
    reasons = plan.get("reasons", 0)  # plans of before do not tell
    return bool(reasons and reasons >= _REASONS_SHARE * plan["planned_rows"])


def open_parts(trained: Trained, *, base: str | None, layout: LayoutName | None) -> BaseParts:
    """Open the base that is asked for, or else the one that was trained on.

    Args:
        trained: What the training's plan tells.
        base: ``cpu``, ``cpu:NAME``, a bundle's folder or a checkpoint's; None for the training's own.
        layout: Of a checkpoint; None for the training's own.

    Raises:
        ExportError: There is none, or it is another than was trained on.
        TrainingError: The checkpoint cannot be read.
        BundleError: The bundle's parts do not belong together.
    """
    wanted = _wanted(trained, base, layout)
    parts = _of_bundle(wanted.bundle, wanted.layout) if wanted.bundle else _of_checkpoint(wanted)
    for what, found, expected in (
        ("layout", parts.manifest.layout.digest, trained.layout_digest),
        ("tokenizer", parts.manifest.tokenizer.digest, trained.tokenizer_digest),
    ):
        if expected is not None and found != expected:
            raise ExportError(
                f"{parts.folder}: its {what} is {found}, the training's was {expected}; give the base it had"
            )
    return parts


def _wanted(trained: Trained, base: str | None, layout: LayoutName | None) -> recipe.TrainingBase:
    own = trained.base
    if base is None:
        if own is None:
            raise ExportError("no plan.json stands beside the adapter; name its base with --base")
        return own
    if base_model(base) or (Path(base) / "manifest.json").is_file():
        if layout is not None:
            raise ExportError("--layout is for a checkpoint; a bundle has its own")
        return recipe.TrainingBase(bundle=base, layout=own.layout if own and own.bundle else None)
    chosen = layout or (own.layout if own else None)
    if chosen is None:
        raise ExportError(f"--layout: say which one the adapter was trained with: {', '.join(LAYOUTS)}")
    return recipe.TrainingBase(checkpoint=base, layout=chosen)


def _of_bundle(name: str, trained_layout: LayoutName | None) -> BaseParts:
    known = base_model(name)
    folder = known.bundle_path(base=True) if known else Path(name)
    if known and not folder.is_dir():
        raise ExportError(
            f"the CPU model's base is not there; run sluicegate engine fetch-cpu --model {known.name} --base first"
        )
    bundle = Bundle.open(folder, verify=False)
    manifest = bundle.manifest
    if manifest.adapter is not None:
        raise ExportError(
            f"{folder}: the adapter {manifest.adapter.name} is merged into it already; give its base"
        )
    weights = bundle.file("model")
    small: dict[str, tuple[str, bytes]] = {
        role: (manifest.files[role].path, bundle.file(role).read_bytes())
        for role in ("tokenizer", "layout")
        if role in manifest.files
    }
    changed: dict[str, Any] = {"files": {}, "evaluation": {}}
    if trained_layout is not None and trained_layout != "vendor":
        small.pop("layout", None)
        changed["layout"] = LayoutRef(name=trained_layout, digest=CompactLayout(trained_layout).digest)
    return BaseParts(
        folder,
        _published(folder, weights, manifest) if weights.suffix == ".gguf" else None,
        manifest.model_copy(update=changed),
        small,
    )


def _published(folder: Path, weights: Path, manifest: Manifest) -> Path:
    """What to merge into: the weights that the bundle was made of, where it rounded them itself."""
    if manifest.quantisation != "Q8_0":
        return weights
    original = original_beside(folder.absolute(), manifest)
    if not original.is_file():
        raise ExportError(
            f"{original} is missing: the GGUF that the base was made of, since a rounded one swallows small changes; "
            "for the CPU model run sluicegate engine fetch-cpu --base"
        )
    if manifest.base.sha256 not in (None, file_digest(original)):
        raise ExportError(f"{original} is not the file that base.sha256 names; fetch it again")
    return original


def _of_checkpoint(wanted: recipe.TrainingBase) -> BaseParts:
    opened = open_base(wanted)
    with (opened.folder / "tokenizer.json").open("rb") as stream:
        raw, control = without_control_tokens(stream.read(_TOKENIZER_BYTES))
    layout: Layout = opened.layout
    small = {"tokenizer": ("tokenizer.json", raw)}
    if isinstance(layout, VendorLayout):
        small["layout"] = ("layout.json", layout.model_dump_json().encode())
    manifest = Manifest(
        schema_version="1.0",
        name="checkpoint",
        base=Base(name=opened.name, revision=UNKNOWN),
        adapter=None,
        quantisation="none",
        runtime="none",
        gpu_arch=None,
        layout=LayoutRef(name=layout.name, digest=layout.digest),
        tokenizer=TokenizerRef(digest=opened.tokenizer.digest, control_tokens=control),
        labels=opened.labels,
        categories=CATEGORIES,
        limits=BundleLimits(max_prompt_tokens=_PROMPT_TOKENS),
        files={},
        licence=Licence(spdx=UNKNOWN, attribution=opened.name),
        evaluation={},
    )
    return BaseParts(opened.folder, None, manifest, small)
