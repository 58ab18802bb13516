"""``sluicegate shadow``: a candidate judges beside the incumbent, and both are compared."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="A candidate beside the incumbent: let it judge a share of the posts, and compare. It acts on nothing.\n\n"
    "Example: sluicegate shadow run --settings candidate.yaml",
    no_args_is_help=True,
)


@app.callback()
def _shadow() -> None:
    """Make `shadow` a group, though it has no command yet."""
