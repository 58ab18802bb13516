"""``sluicegate adapt train``: prepared rows to an adapter."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson


def train(  # noqa: PLR0917 - options are parameters
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="What to train: docs/adapt.md.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that `adapt prepare` wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the result; one that was begun is gone on with.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train a few steps, state memory and time, write nothing.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="End this sitting after this number of minutes. The next one goes on."),
    ] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Time between checkpoints.")] = 10,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a LoRA adapter. Ctrl-C or SIGTERM writes a checkpoint and ends; the same command goes on from it.

    Example: sluicegate adapt train recipe.yaml --data prepared --out adapter
    """
    from sluicegate.engines.adapt.train import run  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.adapt.train.recipe import TrainingRecipe  # noqa: PLC0415 - the same

    wanted = TrainingRecipe.load(recipe)

    def report(line: str) -> None:
        typer.echo(line, err=as_json)

    if dry_run:
        found = run.estimate(wanted, data, threads=threads, report=report)
        if as_json:
            typer.echo(orjson.dumps(asdict(found)).decode())
        else:
            typer.echo(
                f"memory {found.peak_mib:,} MiB at most; {found.tokens_per_s:,.0f} tokens/s; training "
                f"{found.train_hours:.1f} h and measuring {found.dev_hours:.1f} h, if this machine stays as busy"
            )
        return
    if out is None:
        raise typer.BadParameter("give --out, or --dry-run")
    outcome = run.train(
        wanted,
        data,
        out,
        minutes=minutes,
        checkpoint_minutes=checkpoint_minutes,
        threads=threads,
        report=report,
    )
    if as_json:
        typer.echo(orjson.dumps(asdict(outcome)).decode())
        return
    progress = outcome.progress
    best = (
        ""
        if progress.best is None
        else f"; best dev macro-F1 {progress.best:.3f} at row {progress.best_rows:,}"
    )
    typer.echo(f"{outcome.reason}: {progress.rows:,} rows in {progress.seconds / 3600:.2f} h{best}")
    if not outcome.finished:
        typer.echo("the same command goes on from here")
