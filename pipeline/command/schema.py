"""``sluicegate schema``: the event contracts as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="The event contracts.\n\nExample: sluicegate schema export contracts", no_args_is_help=True
)


@app.callback()
def _schema() -> None:
    """Make `schema` a group, though it has one command so far."""


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to, or to compare.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where a file differs or is missing.")
    ] = False,
) -> None:
    """Write JSON Schema files and the AsyncAPI document of this version.

    Example: sluicegate schema export contracts
    """
    from sluicegate.schemas.export import drift, generate, write  # noqa: PLC0415 - loads the YAML writer

    if check:
        differing = drift(folder)
        for name in differing:
            typer.echo(f"{folder / name} is not what this version generates", err=True)
        if differing:
            raise typer.Exit(1)
        return
    write(folder)
    typer.echo(f"{len(generate())} files written to {folder}")
