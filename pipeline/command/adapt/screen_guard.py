"""``sluicegate adapt screen-guard``: a small guard's evaluation to the screen that it is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import typer

from sluicegate.engines.errors import ScreenError
from sluicegate.pipeline.command.options import AsJson
from sluicegate.pipeline.text import neutral_json

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LIBRARIES = ("numpy", "scipy")


def screen_guard(
    evaluation: Annotated[
        Path,
        typer.Argument(
            metavar="EVALUATION", help="Folder of `adapt evaluate` with the small guard's bundle."
        ),
    ],
    rows: Annotated[
        Path,
        typer.Argument(metavar="ROWS.jsonl", help="The rows that it was evaluated on, with their texts."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the screen; missing or empty.")],
    name: Annotated[str | None, typer.Option(help="Name of the screen. Default: the folder's.")] = None,
    minimum_rows: Annotated[
        int, typer.Option(min=100, help="A kind and language needs this many rows to be answered.")
    ] = 200,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a screen in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a small guard, so that it can answer easy posts before the large one is asked.

    A table says for every kind and language how often its answers at or above a score are wrong, at most. In service it
    answers where that is within the tenant's tolerance, and nothing else. The page: docs/shortcuts.md.

    Example: sluicegate adapt screen-guard evaluation dev.jsonl --out guard
    """
    called = name or out.resolve().name.lower()
    if not _NAME.fullmatch(called):
        raise typer.BadParameter("--name: up to 64 of a-z 0-9 . _ -, such as forum-1")
    missing = [library for library in _LIBRARIES if importlib.util.find_spec(library) is None]
    if missing:
        raise ScreenError(f"{missing[0]} is missing: pip install 'sluicegate[evaluate]'")
    from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.evaluate.scored import read_evaluated  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.screen import guarding  # noqa: PLC0415 - the same

    evaluated = read_evaluated(evaluation)
    labelled = read_labelled([rows], split="dev" if evaluated.judged.split == "dev" else None).rows
    manifest, found = guarding.measured(evaluated, labelled, called, minimum_rows=minimum_rows)
    guarding.write(manifest, out, overwrite=overwrite)
    if as_json:
        typer.echo(neutral_json(manifest.model_dump_json()))
        return
    for one in found:
        kind, language = one.key
        said = f"{one.group.rows:,} of {one.rows:,} rows" if one.group else f"not answered: {one.why_not}"
        typer.echo(f"{kind} {language}: {said}")
    typer.echo(f"screen: {out}, digest {manifest.digest}, of the guard {manifest.guard}")
