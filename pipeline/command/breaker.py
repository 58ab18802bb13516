"""``sluicegate breaker``: whose blocks are withheld, and let them through again."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.control import read_changes
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka import client_config
from sluicegate.pipeline.printable import neutral, neutral_json
from sluicegate.pipeline.settings import Settings, load_settings
from sluicegate.pipeline.trips import LINE, Trip, Trips

if TYPE_CHECKING:
    from collections.abc import Iterable

_READ_S = 0.2

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
OfPolicy = Annotated[str | None, typer.Option("--policy", help="Only under this policy digest.")]

app = typer.Typer(
    help="Block-volume breakers: see which are open, and reset them.\n\n"
    "Where a tenant's blocks exceed what its policy allows, a rule or a model is likely wrong: further "
    "blocks become review until somebody has looked, and resets it.\n\n"
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
    found = [one for one in _read(load_settings(settings)) if _meant(one, tenant, policy)]
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
    tenant: Annotated[str | None, typer.Argument(help="Whose breaker, as `status` shows it.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every open breaker.")] = False,
    policy: OfPolicy = None,
    reason: Annotated[
        str, typer.Option("--reason", help=f"Why; everybody reads it. At most {LINE} characters.")
    ],
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
    if not reason.strip() or neutral(reason, LINE) != reason:
        raise typer.BadParameter(f"1 to {LINE} printable characters on one line", param_hint="--reason")
    loaded = load_settings(settings)
    known = _read(loaded)
    opened = [one for one in known if one.state == "open" and _meant(one, tenant, policy)]
    if not opened:
        typer.echo("no such breaker is open; `sluicegate breaker status` shows which are", err=True)
        raise typer.Exit(1)
    closed = [_closed(one, reason) for one in opened]
    _write(loaded, [(one.key, one.encode()) for one in closed])
    # What a reset supersedes says nothing any more. Only now: a run that is killed in between loses no reset.
    _write(loaded, [(old.key, None) for one in opened for old in known.of(one.place)])
    if as_json:
        typer.echo(neutral_json(orjson.dumps([one.model_dump(mode="json") for one in closed]).decode()))
        return
    for one in closed:
        typer.echo(f"{one.tenant}: reset, under policy {one.policy}")


def _closed(trip: Trip, reason: str) -> Trip:
    return Trip(
        state="closed",
        tenant=trip.tenant,
        policy=trip.policy,
        generation=trip.generation + 1,
        at=datetime.now(UTC),
        by=neutral(_who(), LINE),
        why=reason,
    )


def _who() -> str:
    user = "somebody"
    with suppress(OSError, KeyError):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _meant(trip: Trip, tenant: str | None, policy: str | None) -> bool:
    return tenant in (None, trip.tenant) and policy in (None, trip.policy)


def _line(trip: Trip) -> str:
    said = "open since" if trip.state == "open" else "reset at"
    return (
        f"{trip.tenant}: {said} {trip.at.isoformat(timespec='seconds')} by {trip.by}: {trip.why} "
        f"(policy {trip.policy})"
    )


def _read(settings: Settings) -> Trips:
    """What the control topic knows of breakers."""
    from sluicegate.pipeline.reader import TopicReader  # noqa: PLC0415 - loads Kafka's client

    trips = Trips()
    unreadable = 0
    with TopicReader(settings.kafka, [settings.topics.control], start="beginning") as reader:
        while True:
            records = reader.read(_READ_S)
            changes, refused = read_changes(records)
            unreadable += refused
            for change in changes:
                if isinstance(change, Trip):
                    trips.add(change)
                else:
                    trips.remove(change)
            if not records and reader.at_end:
                break
    if unreadable:
        typer.echo(f"{unreadable} records are not what they claim and were passed over", err=True)
    return trips


def _write(settings: Settings, records: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Write to the control topic, and wait until the brokers have it.

    Raises:
        ClusterError: They do not take it.
    """
    from confluent_kafka import Producer  # noqa: PLC0415 - only who writes pays for the client

    topic, within_s = settings.topics.control, settings.kafka.delivery_timeout_s
    errors: list[str] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            errors.append(error.name())

    timeout = {"acks": "all", "delivery.timeout.ms": int(within_s * 1000)}
    producer = Producer(client_config(settings.kafka) | timeout)
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=delivered)
    left = producer.flush(within_s + 5)
    if left or errors:
        why = errors[0] if errors else "no answer in time"
        raise ClusterError(
            f"topic {topic} was not written ({why}); this user needs Describe, Read and Write on it"
        )
