"""``sluicegate deadletter``: look at what could never be judged, keep it elsewhere, send it again."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.command.replaying import TROUBLES, LetterReplay, noted
from sluicegate.pipeline.command.verdicts import json_line
from sluicegate.pipeline.dead_letters import Selection, identity, line, page, summary
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import Settings, load_settings
from sluicegate.pipeline.text import neutral, neutral_json
from sluicegate.schemas import DeadLetter

_TEXT_FIELDS: dict[str, Any] = {"key": None, "headers": [], "payload": None}


def _moment(text: str) -> datetime:
    """Read a moment; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a date, or a date and time, such as 2026-03-01T09:30:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Codes = Annotated[
    list[str] | None, typer.Option("--code", help="Only this code; may be given more than once.")
]
Topic = Annotated[str | None, typer.Option("--topic", help="Only records that stood on this topic.")]
Partition = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only records that stood on this partition.")
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=_moment, metavar="TIME", help="Only records rejected then or later."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=_moment, metavar="TIME", help="Only records rejected before then."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Stop after this number, oldest first.")]
ShowText = Annotated[
    bool, typer.Option("--show-text", help="Print key, header values and payload too: hostile text.")
]

app = typer.Typer(
    help="Dead letters: list, show, export and replay them.\n\nExample: sluicegate deadletter list",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    *,
    codes: Codes = None,
    topic: Topic = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Print one line per dead letter, oldest first in each partition, without anything a producer wrote.

    Example: sluicegate deadletter list --code oversize --since 2026-03-01
    """
    chosen = Selection(frozenset(), frozenset(codes or ()), topic, partition, since, until)
    for letter, _ in islice(_letters(load_settings(settings), chosen), limit):
        _print(neutral_json(orjson.dumps(summary(letter)).decode()) if as_json else line(letter))


@app.command("show")
def show(
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")],
    show_text: ShowText = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Print one dead letter whole; its text only when asked for, and then inert on a terminal.

    Exit code 1 if there is none with this id.

    Example: sluicegate deadletter show 8ef16177-ce10-5f4c-849d-04b8d25bb84b --show-text
    """
    found = False
    for letter, value in _letters(load_settings(settings), Selection(frozenset({dead_letter_id}))):
        found = True
        if as_json:
            document = orjson.loads(value) | ({} if show_text else _TEXT_FIELDS)
            _print(neutral_json(orjson.dumps(document).decode()))
        else:
            _print(page(letter, text=show_text))
    if not found:
        _absent({dead_letter_id})


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.", dir_okay=False)],
    *,
    codes: Codes = None,
    topic: Topic = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    settings: SettingsFile = None,
) -> None:
    """Write dead letters to a file that only its owner may read: one JSON document a line, payloads included.

    Example: sluicegate deadletter export letters.jsonl --topic posts
    """
    chosen = Selection(frozenset(), frozenset(codes or ()), topic, partition, since, until)
    count = 0
    with _new_file(file) as stream:
        for _, value in islice(_letters(load_settings(settings), chosen), limit):
            stream.write(json_line(value).encode() + b"\n")
            count += 1
    typer.echo(f"{count} dead letters written to {neutral(str(file), 300)}")


@app.command("replay")
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters by id.")] = None,
    *,
    codes: Codes = None,
    topic: Topic = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[
        bool, typer.Option("--all", help="All, where neither ids nor a filter are given.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Send at most this number.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Send to this topic, not to the one it came from.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Replay records that were replayed before, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; send nothing.")] = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Send the original records to their topic again, with their own bytes, keys and headers.

    Safe to repeat: what was replayed is noted on the control topic, and skipped the next time.
    Truncated ones are refused. Exit code 1 if any was refused, not delivered or not found.

    Example: sluicegate deadletter replay --code invalid_post --since 2026-03-01 --dry-run
    """
    loaded = load_settings(settings)
    chosen = Selection(frozenset(ids or ()), frozenset(codes or ()), topic, partition, since, until)
    if chosen == Selection() and not every:
        raise typer.BadParameter("say which: ids, a filter, or --all")
    if to in {loaded.topics.dead_letter, loaded.topics.control, *loaded.topics.outputs}:
        raise typer.BadParameter("a topic that posts are taken from", param_hint="--to")
    work = LetterReplay(loaded, noted(loaded), to=to, again=again, dry_run=dry_run, limit=limit)
    counts: Counter[str] = Counter()
    seen = set()
    for outcome in work.run(letter for letter, _ in _letters(loaded, chosen)):
        counts[outcome.did] += 1
        seen.add(outcome.dead_letter_id)
        if as_json:
            _print(neutral_json(orjson.dumps(asdict(outcome)).decode()))
        else:
            _print(
                f"{neutral(outcome.dead_letter_id, 48)}  {outcome.did}  {neutral(outcome.detail, 300)}".rstrip()
            )
    if not as_json:
        _print(", ".join(f"{count} {did}" for did, count in counts.items()) or "nothing to replay")
    if limit is None and (missing := chosen.ids - seen):
        _absent(missing)
    if counts.keys() & TROUBLES:
        raise typer.Exit(1)


def _letters(settings: Settings, chosen: Selection) -> Iterator[tuple[DeadLetter, bytes]]:
    """Every chosen dead letter and its value, once though it may stand on the topic twice."""
    unreadable = 0
    seen = set()
    with TopicReader(settings.kafka, [settings.topics.dead_letter], start="beginning") as reader:
        for record in reader.read_all():
            value = record.value or b""
            try:
                letter = DeadLetter.model_validate_json(value)
            except ValueError:
                unreadable += 1
                continue
            if chosen.admits(letter) and identity(letter) not in seen:
                seen.add(identity(letter))
                yield letter, value
    if unreadable:
        typer.echo(f"{unreadable} records are no dead letters and were passed over", err=True)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file of the owner's own; removed again if it does not get complete."""
    try:
        stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written ({error.strerror})", param_hint="FILE") from error
    try:
        with stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _absent(ids: set[str] | frozenset[str]) -> None:
    for one in sorted(ids):
        typer.echo(f"no dead letter {neutral(one, 64)}", err=True)
    raise typer.Exit(1)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # a pipe gets each line when it comes
