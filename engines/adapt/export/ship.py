"""Maintainers: make a trained adapter the one that the package brings for the CPU model.

    python -m sluicegate.engines.adapt.export.ship training/adapter --calibration calibration.json --gate gate/gate.json

Writes adapter, facts, manifest and what else the bundle holds into ``engines/assets/adapters/``. From then on
``sluicegate engine fetch-cpu`` writes that bundle, byte by byte. What is shipped passes the gate like any
other export, or says in its manifest why not (``--override``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.adapt.export.base_parts import read_plan
from sluicegate.engines.adapt.export.export import WantedExport, export
from sluicegate.engines.bundle import MANIFEST, Manifest
from sluicegate.engines.cpu_model import (
    ADAPTER_FACTS,
    ADAPTER_WEIGHTS,
    MODELS,
    SMALL,
    WEIGHTS,
    AdapterFacts,
    CpuModel,
    read_adapter,
    read_shipped,
)
from sluicegate.engines.errors import EngineError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_BYTES = 10_000_000  # in the wheel; r 16 on all linear modules of the small model is 9.8 MB in float16


def ship(
    model: CpuModel, adapter: Path, wanted: WantedExport, target: Path, report: Callable[[str], None]
) -> Manifest:
    """Write the folder of the shipped adapter; one that is there is replaced when the new one is whole.

    Args:
        model: What the adapter was trained on.
        adapter: Folder that ``sluicegate adapt train`` wrote.
        wanted: As for an export; the base is the CPU model's, whatever it says.
        target: The folder in the package.
        report: Called with one line for each step.

    Returns:
        The manifest that is pinned from now on.

    Raises:
        EngineError: What does not fit, and the fix.
    """
    if target.is_dir() and any(target.iterdir()) and not (target / ADAPTER_FACTS).is_file():
        raise ExportError(f"{target} is there and holds no shipped adapter; choose another --target")
    read = read_adapter(adapter)
    if len(read.raw) > MOST_BYTES:
        raise ExportError(
            f"{WEIGHTS} has {len(read.raw):,} bytes, more than {MOST_BYTES:,}; take a smaller r"
        )
    if {a.dtype.name for pair in read.factors.values() for a in pair} != {"float16"}:
        raise ExportError(f"{WEIGHTS} is not float16 throughout; ship what `sluicegate adapt train` wrote")
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle"
        export(adapter, bundle, wanted, report)
        exported = Manifest.parse((bundle / MANIFEST).read_bytes())
        # So small a model overlooks one sentence among many, whatever it was trained on (docs/texts.md).
        manifest = exported.model_copy(update={"passages": True})
        facts = AdapterFacts(
            name=wanted.name,
            digest=read.digest,
            base=Manifest.parse(model.base_manifest()).base.name,
            r=read.r,
            alpha=read.alpha,
            targets=read.targets,
            training=read_plan(adapter).digest,
        )
        made = Path(temporary) / "shipped"
        made.mkdir()
        (made / ADAPTER_WEIGHTS).write_bytes(read.raw)
        (made / ADAPTER_FACTS).write_bytes(
            orjson.dumps(facts.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
        )
        for role, entry in manifest.files.items():
            if role not in ("model", "tokenizer"):
                shutil.copyfile(bundle / entry.path, made / entry.path)
        (made / MANIFEST).write_bytes(
            orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
        )
        read_shipped(made)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target)
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and ship."""
    parser = argparse.ArgumentParser(
        description="Make an adapter the one that the package brings for the CPU model."
    )
    parser.add_argument("adapter", type=Path, help="folder that `sluicegate adapt train` wrote")
    parser.add_argument("--model", choices=list(MODELS), default=SMALL.name, help="the CPU model")
    parser.add_argument("--name", help="of adapter and bundle; default: that of the model, and -guard")
    parser.add_argument("--gate", type=Path, help="report of `sluicegate adapt gate`")
    parser.add_argument("--override", metavar="REASON", help="ship without a passed gate")
    parser.add_argument("--evaluation", type=Path, help="folder of `sluicegate adapt evaluate`")
    parser.add_argument("--calibration", type=Path, help="calibration.json of `sluicegate adapt calibrate`")
    parser.add_argument("--attribution", help="whom to name beside the base's makers")
    parser.add_argument("--target", type=Path, help="default: the package's folder")
    given = parser.parse_args(arguments)
    model = MODELS[given.model]
    target = given.target or model.adapter_folder()
    wanted = WantedExport(
        form="llama_cpp",
        name=given.name or f"{model.name}-guard",
        base=f"cpu:{model.name}",
        evaluation=given.evaluation,
        calibration=given.calibration,
        gate=given.gate,
        override=given.override,
        attribution=given.attribution,
    )
    try:
        manifest = ship(model, given.adapter, wanted, target, lambda line: print(line, file=sys.stderr))  # noqa: T201 - a command of its own
    except EngineError as error:
        sys.exit(f"ship: {error}")
    print(f"{target}: {manifest.name}, bundle {manifest.digest}")  # noqa: T201 - a command of its own


if __name__ == "__main__":
    main()
