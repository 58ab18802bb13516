"""Facts on the control topic, as commands read them and write resets."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sluicegate.pipeline.control.topic import read_changes
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.facts import LINE, BreakerFact, Facts, ScreenFact
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION, absent
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.text import neutral

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


Reason = Annotated[str, typer.Option("--reason", help=f"Why; everybody reads it. At most {LINE} characters.")]

F = TypeVar("F", BreakerFact, ScreenFact)


def require_reason(reason: str) -> None:
    """Refuse a reason that is empty, long, or no plain line.

    Raises:
        BadParameter: It is.
    """
    if not reason.strip() or neutral(reason, LINE) != reason:
        raise typer.BadParameter(f"1 to {LINE} printable characters on one line", param_hint="--reason")


def who() -> str:
    """Who resets, for those who read of it."""
    user = "somebody"
    with suppress(OSError, KeyError):  # a container's user may have no name
        user = getpass.getuser()
    return neutral(f"{user}@{socket.gethostname()}", LINE)


def read_facts(settings: Settings, kind: type[F]) -> Facts[F]:
    """What the control topic knows of one kind."""
    facts = Facts[F]()
    with TopicReader(settings.kafka, [settings.topics.control], start="beginning") as reader:
        changes, unreadable = read_changes(reader.read_all())
    for change in changes:
        if isinstance(change, bytes):
            facts.remove(change)
        elif isinstance(change, kind):
            facts.add(change)
    if unreadable:
        typer.echo(f"{unreadable} records are not what they claim and were passed over", err=True)
    return facts


def write_resets(settings: Settings, known: Facts[F], resets: Sequence[F]) -> None:
    """Write resets, then take away what they supersede, which says nothing any more.

    In this order: a run that is killed in between loses no reset.
    """
    superseded = [(old.key, None) for one in resets for old in known.of(one.place)]
    _write(settings, [(one.key, one.encode()) for one in resets])
    _write(settings, superseded)


def _write(settings: Settings, records: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Write to the control topic, and wait until the brokers have it.

    What is taken away is taken from every partition: older versions wrote a key to one of its own,
    and to another once the topic had grown.

    Raises:
        ClusterError: They do not take it.
    """
    topic = settings.topics.control
    errors: list[str] = []

    def delivered(outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            errors.append(outcome.reason)

    producer = Producer(settings.kafka)
    partitions = producer.partitions().get(topic)
    if not partitions:
        raise absent(topic)
    there = range(partitions)
    for key, value in records:
        for partition in there if value is None else (SHARED_PARTITION,):
            producer.put(topic, value, key, report=delivered, partition=partition)
    left = producer.flush()
    if left or errors:
        why = errors[0] if errors else "no answer in time"
        raise ClusterError(
            f"topic {topic} was not written ({why}); this user needs Describe, Read and Write on it"
        )
