"""The ``sluicegate`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sluicegate import __version__
from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command import worker
from sluicegate.pipeline.errors import PipelineError

app = typer.Typer(
    name="sluicegate",
    help="Content moderation as a stream: posts in on Kafka, explained verdicts out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("worker")(worker.worker)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks instead of one sentence.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = {"debug": debug}


def main() -> None:
    """Run the command. A known fault is one sentence on stderr and exit code 1."""
    try:
        app()
    except (PipelineError, EngineError) as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"sluicegate: {error}", err=True)
        sys.exit(1)
