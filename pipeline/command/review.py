"""``sluicegate review``: the desk where people decide what the machine leaves to them."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from typing import Annotated, Literal

import typer

from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.settings.tree import Settings, load_settings

app = typer.Typer(
    help="The review desk: serve it, migrate its store, erase an author, export cases, make its read model again.\n\nExample: sluicegate review serve"
)

Form = Literal["csv", "jsonl"]
Demo = Annotated[
    bool, typer.Option("--demo", help="Log in by a click, without an issuer. On a loopback address alone.")
]


@app.command("serve")
def serve(settings: SettingsFile = None, demo: Demo = False) -> None:
    """Run the desk until Ctrl-C or SIGTERM: read verdicts into cases, show pages, send what is decided.

    Example: sluicegate review serve --demo
    """
    loaded = load_settings(settings)
    if demo and not _is_loopback(loaded.review.host):
        raise ReviewError(
            f"--demo lets anybody in, and review.host is {loaded.review.host}; give 127.0.0.1, or leave --demo out"
        )
    _require_extra()
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - only a desk logs so
    from sluicegate.pipeline.review.serving import serve_desk  # noqa: PLC0415 - loads the libraries of an extra

    configure_logs(loaded.log.level)
    asyncio.run(serve_desk(loaded, demo=demo))


@app.command("migrate")
def migrate(settings: SettingsFile = None) -> None:
    """Bring the store to the shape that this version needs. `serve` does it, too, when it starts; this asks no cluster.

    Safe to repeat, and while a desk of the version before runs. It is one transaction: if it fails, nothing has changed.

    Example: sluicegate review migrate
    """
    _require_extra()
    _desk(load_settings(settings)).store.migrate()
    typer.echo("the store has the shape of this version")


@app.command("erase")
def erase(
    author: Annotated[str, typer.Option(help="The author's id, as in posts.")],
    tenant: Annotated[str, typer.Option(help="The author's tenant.")] = "default",
    settings: SettingsFile = None,
) -> None:
    """Erase an author: the key and every text of theirs, for good. Their cases stay, and say that the text is gone.

    Example: sluicegate review erase --author user-17
    """
    _require_extra()
    texts, left = _desk(load_settings(settings)).erase(tenant, author, "command")
    typer.echo(f"erased: {texts} texts; no text of this author is kept from now on")
    if left is not None:
        typer.echo(left)


@app.command("export")
def export(
    form: Annotated[Form, typer.Option("--form", help="csv for a spreadsheet, jsonl for a program.")] = "csv",
    tenant: Annotated[str, typer.Option(help="Whose cases; all if it is left out.")] = "",
    texts: Annotated[bool, typer.Option("--texts", help="With the texts of posts.")] = False,
    settings: SettingsFile = None,
) -> None:
    """Write every case, with what was decided on it, to standard output. The journal has the export before its first row.

    No cell of the CSV is a formula, and characters that nobody sees are spelt out there. JSON lines have texts as they are.

    Example: sluicegate review export --tenant forum > cases.csv
    """
    _require_extra()
    for line in _desk(load_settings(settings)).export("command", form, tenant=tenant, texts=texts):
        sys.stdout.write(line)


@app.command("rebuild")
def rebuild(settings: SettingsFile = None) -> None:
    """Throw the read model away. The desk makes it again from the topics when it starts; stop it before.

    What people did stays: decided cases, first answers, disputes, skips. An open case that nobody touched comes back if the
    topics still have its verdict.

    Example: sluicegate review rebuild
    """
    _require_extra()
    gone, left = _desk(load_settings(settings)).rebuild("command")
    typer.echo(
        f"the read model is empty: {gone} open cases went, {left} that people touched stayed; "
        "start the desk, and it reads the topics from their beginning"
    )


def _desk(settings: Settings):  # type: ignore[no-untyped-def]  # noqa: ANN202 - its class is of an extra
    from sluicegate.pipeline.review.desk import ReviewDesk  # noqa: PLC0415 - loads the libraries of an extra

    return ReviewDesk(settings)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_extra() -> None:
    try:
        import alembic  # noqa: F401, PLC0415 - asked whether it is there
        import fastapi  # noqa: F401, PLC0415 - the same
        import sqlalchemy  # noqa: F401, PLC0415 - the same
    except ModuleNotFoundError as error:
        raise ReviewError(
            f"the review desk needs {error.name}; install sluicegate with the extra: pip install 'sluicegate[review]'"
        ) from error
