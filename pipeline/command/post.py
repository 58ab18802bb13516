"""``sluicegate post``: JSON lines to the input topic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile, progress
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.topics import absent
from sluicegate.pipeline.settings.tree import Settings, load_settings

# Kafka's own default for the largest record; also what keeps a file without line breaks out of memory.
_LINE_BYTES = 1_000_000
_MOST_TOLD = 20  # lines that are named; all are counted
_ANSWER_S = 5.0  # a person waits for this command


@dataclass(frozen=True, slots=True)
class Trouble:
    """A line that did not reach the topic."""

    line: int
    """Its number, from 1."""
    reason: str
    """What is wrong with it, or Kafka's name of why the brokers did not take it."""


@dataclass(slots=True)
class Posted:
    """What became of the lines."""

    sent: int = 0
    """Accepted by the broker."""
    refused: int = 0
    """Not sent: no JSON object with an id, or longer than a record may be."""
    failed: int = 0
    """Sent, and not accepted."""
    troubles: list[Trouble] = field(default_factory=list)
    """The first lines that were refused or not accepted, in the order in which that was told."""

    def note(self, line: int, reason: str) -> None:
        """Keep what became of a line, while there is room."""
        if len(self.troubles) < _MOST_TOLD:
            self.troubles.append(Trouble(line, reason))


def post(
    file: Annotated[str, typer.Argument(help="File with one JSON object a line; - reads standard input.")],
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Send lines as they are, malformed ones too: to see dead letters."),
    ] = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Publish posts to the input topic: one JSON object a line, keyed by its id.

    A line that is no JSON object with an id is refused and counted. The first lines that did not reach the topic
    are named with their number and the reason. Exit code 1 if any line was refused or not accepted by the broker.

    Example: echo '{"id": "1", "text": "hello"}' | sluicegate post -
    """
    loaded = load_settings(settings)
    with _open(file) as lines, progress(sys.stderr, counts=False) as advance:
        size = None if lines is sys.stdin.buffer else Path(file).stat().st_size or None
        posted = _send(loaded, lines, raw=raw, told=lambda done: advance("posting", done, size))
    if as_json:
        typer.echo(orjson.dumps(asdict(posted)).decode())
    else:
        for trouble in posted.troubles:
            typer.echo(f"line {trouble.line}: {trouble.reason}", err=True)
        more = posted.refused + posted.failed - len(posted.troubles)
        if more > 0:
            typer.echo(f"and {more:,} more lines", err=True)
        typer.echo(
            f"{posted.sent} sent to {loaded.topics.posts}, {posted.refused} refused, {posted.failed} failed"
        )
    if posted.refused or posted.failed:
        raise typer.Exit(1)


def key_of(line: bytes) -> bytes | None:
    """The record key of a post: its id. None if the line is no JSON object with one."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    post_id = document.get("id") if isinstance(document, dict) else None
    return post_id.encode() if isinstance(post_id, str) and post_id else None


def bounded_lines(stream: IO[bytes], limit_bytes: int = _LINE_BYTES) -> Iterator[bytes | None]:
    """Lines that are not blank, without their ends; None for one with more bytes than a record may have."""
    yield from (line for _, line in _numbered_lines(stream, limit_bytes))


def _numbered_lines(stream: IO[bytes], limit_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """The same, each with its number in the stream."""
    number = 0
    while line := stream.readline(limit_bytes + 1):
        number += 1
        if len(line) > limit_bytes and not line.endswith(b"\n"):
            while (rest := stream.readline(limit_bytes)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        elif line.strip():
            yield number, line.rstrip(b"\r\n")


def _send(settings: Settings, stream: IO[bytes], *, raw: bool, told: Callable[[int], None]) -> Posted:
    posted, read_bytes = Posted(), 0
    waiting: set[int] = set()

    def reported(number: int, outcome: Placed | Refused) -> None:
        waiting.discard(number)
        if isinstance(outcome, Placed):
            posted.sent += 1
        else:
            posted.failed += 1
            posted.note(number, outcome.reason)

    producer = Producer(settings.kafka, linger_ms=20)
    # What would fail every line is told before anything is read.
    if settings.topics.posts not in producer.partitions(within_s=_ANSWER_S):
        raise absent(settings.topics.posts)
    for number, line in _numbered_lines(stream, _LINE_BYTES):
        key = key_of(line) if line is not None else None
        if line is None or (key is None and not raw):
            posted.refused += 1
            longer = f"longer than {_LINE_BYTES:,} bytes"
            posted.note(
                number, longer if line is None else "no JSON object with an id, which must be a string"
            )
            continue
        waiting.add(number)
        producer.put(settings.topics.posts, line, key, report=partial(reported, number))
        producer.poll()
        read_bytes += len(line) + 1
        told(read_bytes)
    producer.flush()  # first: what it reports is counted, too
    posted.failed += len(waiting)
    for number in sorted(waiting):
        posted.note(number, "no answer from the brokers in time")
    return posted


@contextmanager
def _open(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; only the opening may fail as a usage error
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read ({error.strerror})") from error
    with stream:
        yield stream
