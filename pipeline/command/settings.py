"""``sluicegate settings``: what is in force, and what there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.text import neutral

app = typer.Typer(
    help="Settings: show what is in force, describe what there is.\n\nExample: sluicegate settings show",
    no_args_is_help=True,
)


@app.command("show")
def show(as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Print every setting as a worker would use it, and where its value comes from. Secrets are stars.

    Example: sluicegate settings show --settings settings.yaml --json
    """
    from sluicegate.pipeline.settings.page import effective_settings  # noqa: PLC0415 - reads the environment

    loaded, entries = effective_settings(settings)
    if as_json:
        document = {"digest": loaded.digest, "settings": [asdict(entry) for entry in entries]}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    rows = [(entry.name, _shown(entry.value), entry.where or entry.origin) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, value, where in rows:
        typer.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {neutral(where)}")
    typer.echo(f"digest {loaded.digest}")


@app.command("docs")
def docs(
    file: Annotated[Path | None, typer.Argument(help="File to write; without one it is printed.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where the file differs or is missing.")
    ] = False,
) -> None:
    """Write the reference of all settings as Markdown: unit, range, default and the default's reason.

    Example: sluicegate settings docs docs/settings.md --check
    """
    from sluicegate.pipeline.settings.page import settings_page  # noqa: PLC0415 - makes the schema of every section

    page = settings_page()
    if file is None:
        if check:
            raise typer.BadParameter("--check compares a file; name one, such as docs/settings.md")
        typer.echo(page, nl=False)
    elif not check:
        _write(file, page)
    elif not file.is_file() or file.read_text(encoding="utf-8") != page:
        typer.echo(
            f"{file} is not what this version generates; `sluicegate settings docs {file}` writes it",
            err=True,
        )
        raise typer.Exit(1)


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written ({error.strerror})") from error


def _shown(value: Any) -> str:
    return neutral(value, 60) if isinstance(value, str) else orjson.dumps(value).decode()
