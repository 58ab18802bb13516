"""``sluicegate screen``: which screens are switched off, and let them answer again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from sluicegate.pipeline.command.control_facts import Reason, read_facts, require_reason, who, write_resets
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.facts import ScreenFact
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.text import neutral_json

app = typer.Typer(
    help="The screen: see whether it is switched off, and reset it.\n\n"
    "Of a screen's answers a sample is judged by the engine, too. One that is wrong more often than tolerated is "
    "switched off in every worker until a person resets it, or another screen is configured.\n\n"
    "Example: sluicegate screen status",
    no_args_is_help=True,
)


@app.command("status")
def status(as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Print every screen that was ever switched off, those that still are first: since when, and why.

    Example: sluicegate screen status --json
    """
    found = sorted(
        read_facts(load_settings(settings), ScreenFact), key=lambda one: (one.state != "open", one.at)
    )
    for one in found:
        if as_json:
            typer.echo(neutral_json(one.model_dump_json()))
            continue
        said = "off since" if one.state == "open" else "reset at"
        typer.echo(f"{one.screen}: {said} {one.at.isoformat(timespec='seconds')} by {one.by}: {one.why}")
    if not found and not as_json:
        typer.echo("no screen was switched off")


@app.command("reset")
def reset(
    screen: Annotated[str, typer.Argument(help="Its digest, as `status` shows it.")],
    *,
    reason: Reason,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Let a screen answer again, in every worker, and begin a new count.

    Returns once the brokers have it; workers take it up within a second. Exit code 1 if it is not off.

    Example: sluicegate screen reset sha256:… --reason "the engine was wrong: another one is in force"
    """
    require_reason(reason)
    loaded = load_settings(settings)
    known = read_facts(loaded, ScreenFact)
    newest = known.newest((screen,))
    if newest is None or newest.state != "open":
        typer.echo("no such screen is off; `sluicegate screen status` shows which are", err=True)
        raise typer.Exit(1)
    turn = ScreenFact(
        state="closed",
        screen=screen,
        generation=newest.generation + 1,
        at=datetime.now(UTC),
        by=who(),
        why=reason,
    )
    write_resets(loaded, known, [turn])
    if as_json:
        typer.echo(neutral_json(orjson.dumps(turn.model_dump(mode="json")).decode()))
    else:
        typer.echo(f"{screen}: reset")
