"""The door: from a trained adapter to an engine bundle.

All is written to a temporary folder beside the bundle's, opened as a worker opens it, and renamed when it is whole.
Equal inputs give equal bundles; only ``hf-merged`` leaves that to the libraries that write it.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from sluicegate.engines.adapt.export.base_parts import UNKNOWN, BaseParts, open_parts, read_plan
from sluicegate.engines.adapt.export.gate_file import (
    GATE,
    GateDecision,
    GateJudged,
    decide,
    is_of,
    read_limited,
)
from sluicegate.engines.adapt.export.weights import Form, write_weights
from sluicegate.engines.bundle import (
    CALIBRATION,
    CALIBRATION_BYTES,
    DRAFT,
    MANIFEST,
    Adapter,
    Bundle,
    BundleFile,
    Calibration,
    Manifest,
    file_digest,
)
from sluicegate.engines.cpu_model import read_adapter
from sluicegate.engines.errors import ExportError
from sluicegate.engines.layouts import LayoutName

if TYPE_CHECKING:
    from collections.abc import Callable


EVALUATION = "evaluation.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,56}")
_EVALUATION_BYTES = 64 << 20
_LINEAGE_BYTES = 1 << 20
LINEAGE = "lineage.json"
"""Name in the bundle of what the cycle says of the rows."""


@dataclass(frozen=True, slots=True)
class WantedExport:
    """What is exported, and how; the options of ``sluicegate adapt export``."""

    form: Form
    name: str
    base: str | None = None
    layout: LayoutName | None = None
    evaluation: Path | None = None
    calibration: Path | None = None
    lineage: Path | None = None
    """What the cycle says of the rows; it goes into the bundle as it is."""
    gate: Path | None = None
    override: str | None = None
    draft: bool = False
    extra_categories: tuple[str, ...] = ()
    licence: str | None = None
    attribution: str | None = None
    max_prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    digest: str
    adapter: str
    """Digest of the adapter."""


def export(adapter: Path, out: Path, wanted: WantedExport, report: Callable[[str], None]) -> Exported:
    """Write the bundle of an adapter. Blocking; needs room for the bundle on the disk of ``out``.

    Args:
        adapter: Folder that ``sluicegate adapt train`` wrote: ``best`` or ``adapter``.
        out: Folder of the bundle; missing or empty.
        wanted: What is written.
        report: Called with one line for each step.

    Raises:
        EngineError: What does not fit, and the fix.
    """
    _check_options(wanted, out)
    decision = None if wanted.draft else decide(wanted.gate, wanted.override)
    read = read_adapter(adapter)
    trained = read_plan(adapter)
    parts = open_parts(trained, base=wanted.base, layout=wanted.layout)
    scores, judged = _evaluation(wanted.evaluation)
    calibration = _calibration(wanted.calibration)
    target = out.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as temporary:
            folder = Path(temporary) / "bundle"
            folder.mkdir(mode=0o755)
            report(f"writing weights for {wanted.form}")
            written = write_weights(wanted.form, parts, read, adapter, folder, name=wanted.name)
            for path, content in parts.small_files.values():
                (folder / path).write_bytes(content)
            small = {role: path for role, (path, _) in parts.small_files.items()}
            draft = _manifest(wanted, parts, read.digest, written.quantisation, written.runtime).model_copy(
                update={"files": _entries(folder, {**written.paths, **small}), "reasons": trained.reasons}
            )
            _require_of(decision, judged, calibration, {read.digest, draft.digest})
            lineage = None if wanted.lineage is None else read_limited(wanted.lineage, _LINEAGE_BYTES)
            manifest = (
                draft if decision is None else _final(draft, folder, scores, calibration, decision, lineage)
            )
            document = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
            (folder / MANIFEST).write_bytes(document)
            report("checking")
            bundle = Bundle.open(folder)
            if target.is_dir():
                target.rmdir()
            folder.rename(target)
    except OSError as error:
        raise ExportError(f"cannot write {target} ({error.strerror}); choose another --out") from error
    return Exported(target, bundle.digest, read.digest)


def _check_options(wanted: WantedExport, out: Path) -> None:
    if not _NAME.fullmatch(wanted.name) or wanted.name.endswith(DRAFT):
        raise ExportError(
            "--name: lower case letters, digits, points and dashes, at most 57, not ending in -draft"
        )
    if wanted.draft and (wanted.gate or wanted.override or wanted.evaluation or wanted.calibration):
        raise ExportError("--draft goes without --gate, --override, --evaluation and --calibration")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ExportError(f"{out} is there and not an empty folder; choose another --out")


def _manifest(
    wanted: WantedExport, parts: BaseParts, digest: str, quantisation: str, runtime: str
) -> Manifest:
    """The draft's manifest, its files not yet named."""
    base = parts.manifest
    if wanted.licence is None and base.licence.spdx == UNKNOWN:
        raise ExportError("--licence: say under which terms the checkpoint is, such as Apache-2.0")
    changed = f"{base.licence.attribution} Adapted: LoRA adapter {wanted.name}."
    licence = {
        "spdx": wanted.licence or base.licence.spdx,
        "attribution": changed if wanted.attribution is None else f"{changed} {wanted.attribution}",
    }
    document = {
        **base.model_dump(mode="json"),
        "name": f"{wanted.name}{DRAFT}",
        "adapter": Adapter(name=wanted.name, digest=digest).model_dump(),
        "quantisation": quantisation,
        "runtime": runtime,
        "categories": [*base.categories, *wanted.extra_categories],
        "licence": licence,
    }
    if wanted.max_prompt_tokens is not None:
        document["limits"] = {"max_prompt_tokens": wanted.max_prompt_tokens}
    return Manifest.parse(orjson.dumps(document))


def _require_of(
    decision: GateDecision | None,
    judged: GateJudged | None,
    calibration: Calibration | None,
    accepted: set[str],
) -> None:
    if decision is not None:
        decision.require(accepted)
    if calibration is not None and calibration.of and not accepted & set(calibration.of):
        raise ExportError(
            "--calibration: it was fitted on another model's scores; calibrate on this adapter's"
        )
    if judged is not None and not is_of(judged, accepted):
        raise ExportError("--evaluation: judged.engine is not this adapter's; evaluate this one")
    if judged is not None and (judged.split == "train" or judged.training_rows):
        raise ExportError(
            "--evaluation: rows of the split that trains are among those judged; evaluate with --split dev"
        )


def _final(
    draft: Manifest,
    folder: Path,
    scores: dict[str, float],
    calibration: Calibration | None,
    decision: GateDecision,
    lineage: bytes | None,
) -> Manifest:
    """The draft with a name of its own, its scores, and what decided."""
    added = {}
    if calibration is not None:
        (folder / CALIBRATION).write_bytes(calibration.content())
        added["calibration"] = CALIBRATION
    if lineage is not None:
        (folder / LINEAGE).write_bytes(lineage)
        added["lineage"] = LINEAGE
    (folder / GATE).write_bytes(decision.content())
    added["gate"] = GATE
    return draft.model_copy(
        update={
            "name": draft.name.removesuffix(DRAFT),
            "files": {**draft.files, **_entries(folder, added)},
            "evaluation": scores,
        }
    )


def _entries(folder: Path, paths: dict[str, str]) -> dict[str, BundleFile]:
    for path in paths.values():
        (folder / path).chmod(0o644)  # safetensors writes what only its owner may read
    return {
        role: BundleFile(path=path, sha256=file_digest(folder / path), bytes=(folder / path).stat().st_size)
        for role, path in paths.items()
    }


def _evaluation(folder: Path | None) -> tuple[dict[str, float], GateJudged | None]:
    """Measures of an evaluation's folder by name, and who judged."""
    if folder is None:
        return {}, None
    path = folder / EVALUATION
    try:
        document: dict[str, Any] = orjson.loads(read_limited(path, _EVALUATION_BYTES))
        judged = GateJudged.model_validate(document["judged"])
        return {name: float(one["value"]) for name, one in document["measures"].items()}, judged
    except (
        orjson.JSONDecodeError,
        ValidationError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise ExportError(
            f"{path} is not as `sluicegate adapt evaluate` writes it; give the folder it wrote"
        ) from error


def _calibration(path: Path | None) -> Calibration | None:
    return None if path is None else Calibration.parse(read_limited(path, CALIBRATION_BYTES), str(path))
