"""``sluicegate candidate``: what becomes of a candidate, as signed facts."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="A candidate's way from registered to promoted, and back.\n\nExample: sluicegate candidate status",
    no_args_is_help=True,
)


@app.callback()
def _candidate() -> None:
    """Make `candidate` a group, though it has no command yet."""
