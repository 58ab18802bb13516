"""``sluicegate post``: JSON lines to the input topic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile, progress
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.settings.tree import Settings, load_settings

# Kafka's own default for the largest record; also what keeps a file without line breaks out of memory.
_LINE_BYTES = 1_000_000


@dataclass(slots=True)
class Posted:
    """What became of the lines."""

    sent: int = 0
    """Accepted by the broker."""
    refused: int = 0
    """Not sent: no JSON object with an id, or longer than a record may be."""
    failed: int = 0
    """Sent, and not accepted."""


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

    A line that is no JSON object with an id is refused and counted. Exit code 1 if any line was
    refused or not accepted by the broker.

    Example: echo '{"id": "1", "text": "hello"}' | sluicegate post -
    """
    loaded = load_settings(settings)
    with _open(file) as lines, progress(sys.stderr, counts=False) as advance:
        size = None if lines is sys.stdin.buffer else Path(file).stat().st_size or None
        posted = _send(loaded, lines, raw=raw, told=lambda done: advance("posting", done, size))
    if as_json:
        typer.echo(orjson.dumps(asdict(posted)).decode())
    else:
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
    while line := stream.readline(limit_bytes + 1):
        if len(line) > limit_bytes and not line.endswith(b"\n"):
            while (rest := stream.readline(limit_bytes)) and not rest.endswith(b"\n"):
                pass
            yield None
        elif line.strip():
            yield line.rstrip(b"\r\n")


def _send(settings: Settings, stream: IO[bytes], *, raw: bool, told: Callable[[int], None]) -> Posted:
    posted, read_bytes = Posted(), 0

    def reported(outcome: Placed | Refused) -> None:
        if isinstance(outcome, Placed):
            posted.sent += 1
        else:
            posted.failed += 1

    producer = Producer(settings.kafka, linger_ms=20)
    producer.partitions()  # a cluster that does not answer is told before anything is read
    for line in bounded_lines(stream):
        key = key_of(line) if line is not None else None
        if line is None or (key is None and not raw):
            posted.refused += 1
            continue
        producer.put(settings.topics.posts, line, key, report=reported)
        producer.poll()
        read_bytes += len(line) + 1
        told(read_bytes)
    left = producer.flush()  # first: what it reports is counted, too
    posted.failed += left
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
