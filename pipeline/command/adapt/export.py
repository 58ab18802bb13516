"""``sluicegate adapt export``: a trained adapter to an engine bundle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sluicegate.engines.adapt.export.weights import Form
from sluicegate.pipeline.command.options import AsJson

_OF_EVERY_TRAINING = ("adapter", "best")  # folders that `adapt train` writes; the one above has the name


class Target(StrEnum):
    """For which servers."""

    LLAMA_CPP = "llama_cpp"
    HF_ADAPTER = "hf-adapter"
    HF_MERGED = "hf-merged"


class LayoutChoice(StrEnum):
    """The prompt layouts."""

    COMPACT = "compact"
    COMPACT_SHORT = "compact-short"
    VENDOR = "vendor"


def export(  # noqa: PLR0917 - options are parameters
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="Folder of an adapter: `best` of a training, say.")
    ],
    to: Annotated[
        Target,
        typer.Option(
            help="llama_cpp: merged, GGUF, Q8_0. hf-adapter: for a server that adds adapters to its base. "
            "hf-merged: a checkpoint to compile; needs the extra `adapt`."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle; missing or empty.")],
    name: Annotated[
        str | None,
        typer.Option(
            help="The name of bundle and adapter. Verdicts carry it. Default: the folder of the training."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="`cpu`, a bundle or a checkpoint; default: what plan.json beside the adapter says."
        ),
    ] = None,
    layout: Annotated[
        LayoutChoice | None, typer.Option(help="The layout of a checkpoint. Default: that of the training.")
    ] = None,
    gate: Annotated[Path | None, typer.Option(help="Report of `adapt gate` on this adapter.")] = None,
    override: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Export without a passed gate; the reason goes into the bundle."),
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="A bundle to evaluate, without a gate; its name ends in -draft.")
    ] = False,
    evaluation: Annotated[
        Path | None, typer.Option(help="Folder of `adapt evaluate`; its measures go into the manifest.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="calibration.json of `adapt calibrate`, for the bundle.")
    ] = None,
    lineage: Annotated[
        Path | None, typer.Option(help="lineage.json of `adapt cycle`, for the bundle.")
    ] = None,
    extra_category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A category it was taught. Repeatable.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="SPDX name; default: the base bundle's. A checkpoint needs it.")
    ] = None,
    attribution: Annotated[str | None, typer.Option(help="Names to credit beside the base's makers.")] = None,
    max_prompt_tokens: Annotated[
        int | None, typer.Option(min=64, help="Longest prompt; default: the base bundle's, else 2048.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an adapter as an engine bundle that a worker opens. The page: docs/adapters.md.

    Exit code 1 if the gate did not pass and no --override says why to do without.

    Example: sluicegate adapt export training/best --to llama_cpp --gate gate/gate.json --out bundle
    """
    from sluicegate.engines.adapt.export import export as door  # noqa: PLC0415 - loads the tokenizer

    form: Form = to.value
    wanted = door.WantedExport(
        form=form,
        name=_name(adapter) if name is None else name,
        base=base,
        layout=None if layout is None else layout.value,
        evaluation=evaluation,
        calibration=calibration,
        lineage=lineage,
        gate=gate,
        override=override,
        draft=draft,
        extra_categories=tuple(extra_category or ()),
        licence=licence,
        attribution=attribution,
        max_prompt_tokens=max_prompt_tokens,
    )
    done = door.export(adapter, out, wanted, lambda line: typer.echo(line, err=as_json))
    if as_json:
        facts = {"path": str(done.folder), "digest": done.digest, "adapter": done.adapter}
        typer.echo(orjson.dumps(facts).decode())
    else:
        typer.echo(f"written: {done.folder}; digest {done.digest}")


def _name(adapter: Path) -> str:
    folder = adapter.absolute()
    return (folder.parent if folder.name in _OF_EVERY_TRAINING else folder).name.lower()
