"""``sluicegate breaker``: whose blocks are withheld, and let them through again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from sluicegate.pipeline.command.control_facts import Reason, read_facts, require_reason, who, write_resets
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.facts import BreakerFact
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.text import neutral_json

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
OfPolicy = Annotated[str | None, typer.Option("--policy", help="Only under this policy digest.")]

app = typer.Typer(
    help="Block-volume breakers: see which are open, and reset them.\n\n"
    "Where a tenant's blocks exceed what its policy allows, a rule or a model is likely wrong: further "
    "blocks become review until a person looks, and resets it.\n\n"
    "Example: sluicegate breaker status",
    no_args_is_help=True,
)


@app.command("status")
def status(
    tenant: Tenant = None, policy: OfPolicy = None, as_json: AsJson = False, settings: SettingsFile = None
) -> None:
    """Print every breaker that ever tripped, open ones first: since when, under which policy, why.

    One that was reset shows by whom. A tenant `*` is all those that a worker had no room to count one by one.

    Example: sluicegate breaker status --tenant teens --json
    """
    found = [one for one in read_facts(load_settings(settings), BreakerFact) if _meant(one, tenant, policy)]
    found.sort(key=lambda one: (one.state != "open", one.tenant, one.at))
    for one in found:
        if as_json:
            typer.echo(neutral_json(one.model_dump_json()))
        else:
            typer.echo(_line(one))
    if not found and not as_json:
        typer.echo("no breaker has tripped")


@app.command("reset")
def reset(
    tenant: Annotated[str | None, typer.Argument(help="Tenant of the breaker, as `status` shows it.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every open breaker.")] = False,
    policy: OfPolicy = None,
    reason: Reason,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Let a tenant's blocks through again, in every worker, and begin a new interval.

    Returns once the brokers have it; workers take it up within a second. Blocks that were withheld
    stay review: judge those posts again if they must go. Exit code 1 if no such breaker is open.

    Example: sluicegate breaker reset teens --reason "the rule is as it should be: a raid, looked at"
    """
    if (tenant is None) == (not every):
        raise typer.BadParameter("say which: one tenant, or --all")
    require_reason(reason)
    loaded = load_settings(settings)
    known = read_facts(loaded, BreakerFact)
    opened = [one for one in known if one.state == "open" and _meant(one, tenant, policy)]
    if not opened:
        typer.echo("no such breaker is open; `sluicegate breaker status` shows which are", err=True)
        raise typer.Exit(1)
    closed = [_closed(one, reason) for one in opened]
    write_resets(loaded, known, closed)
    if as_json:
        typer.echo(neutral_json(orjson.dumps([one.model_dump(mode="json") for one in closed]).decode()))
        return
    for one in closed:
        typer.echo(f"{one.tenant}: reset, under policy {one.policy}")


def _closed(trip: BreakerFact, reason: str) -> BreakerFact:
    return BreakerFact(
        state="closed",
        tenant=trip.tenant,
        policy=trip.policy,
        generation=trip.generation + 1,
        at=datetime.now(UTC),
        by=who(),
        why=reason,
    )


def _meant(trip: BreakerFact, tenant: str | None, policy: str | None) -> bool:
    return tenant in (None, trip.tenant) and policy in (None, trip.policy)


def _line(trip: BreakerFact) -> str:
    said = "open since" if trip.state == "open" else "reset at"
    return (
        f"{trip.tenant}: {said} {trip.at.isoformat(timespec='seconds')} by {trip.by}: {trip.why} "
        f"(policy {trip.policy})"
    )
