"""``sluicegate verdicts``: read the verdict topics."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.client.renderings import RenderedFinding, to_chinese
from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.settings.tree import Settings, load_settings
from sluicegate.pipeline.text import neutral, neutral_json
from sluicegate.schemas import Action, Verdict

if TYPE_CHECKING:
    from rich.table import Table


_TABLE_ROWS = 1000
_LIVE_ROWS = 20
_COLOURS = {Action.ALLOW: "green", Action.REVIEW: "yellow", Action.BLOCK: "red"}
_HEADINGS = ("judged at", "action", "severity", "tenant", "post", "kind", "categories", "rule", "by")


class Format(StrEnum):
    """How a verdict is shown."""

    JSON = "json"
    LINES = "lines"
    TABLE = "table"
    ZH = "zh"


class Start(StrEnum):
    """Where reading begins."""

    BEGINNING = "beginning"
    END = "end"


def verdicts(
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more at the end, or stop there.")
    ] = True,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="json: one document a line; lines: one for people; table: the last; zh: findings in Chinese.",
        ),
    ] = Format.LINES,
    start: Annotated[
        Start, typer.Option("--from", help="Begin with what stands there, or with what comes from now on.")
    ] = Start.END,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this number.")] = None,
    action: Annotated[
        list[Action] | None,
        typer.Option(help="Only this action; may be given more than once. Default: all three."),
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Read verdicts from their topics, without a consumer group: no offsets move.

    Example: sluicegate verdicts --from beginning --no-follow --action block --format json
    """
    loaded = load_settings(settings)
    unreadable = 0
    with _shower(form, live=follow) as show:
        shown = 0
        for record in _records(loaded, action or list(Action), start=start, follow=follow):
            verdict = _decode(record)
            if verdict is None:
                unreadable += 1
                continue
            show(verdict, record)
            shown += 1
            if shown == limit:
                break
    if unreadable:
        typer.echo(f"{unreadable} records are no verdicts and were passed over", err=True)


def human_line(verdict: Verdict) -> str:
    """A verdict as one line of printable text, whatever its producer put into it."""
    return "  ".join(_cells(verdict))


def chinese_lines(verdict: Verdict) -> str:
    """A verdict's finding in Chinese under the post it is about, and an empty line."""
    withheld = "（熔断：拦截改为复核）" if verdict.breaker else ""
    post = f"{neutral(verdict.tenant, 64)}/{neutral(verdict.post_id, 256)}{withheld}"
    return f"帖子：{post}\n{to_chinese(RenderedFinding.of(verdict))}\n"


def json_line(document: bytes) -> str:
    """A verdict's own document on one line, inert on a terminal; fields of a newer version stay."""
    return neutral_json(orjson.dumps(orjson.loads(document)).decode())


def _cells(verdict: Verdict) -> tuple[str, ...]:
    finding = str(verdict.failure.code) if verdict.failure else str(verdict.severity)
    return (
        verdict.judged_at.isoformat(timespec="seconds"),
        f"{verdict.action.value:6}",
        neutral(finding, 20),
        neutral(verdict.tenant, 32),
        neutral(verdict.post_id, 48),
        neutral(verdict.kind, 8),
        neutral(", ".join(verdict.categories), 64) or "-",
        neutral(f"{'breaker: ' if verdict.breaker else ''}{verdict.policy.rule}", 48),
        verdict.assessed_by.value,
    )


def _records(
    settings: Settings, actions: list[Action], *, start: Start, follow: bool
) -> Iterator[TopicRecord]:
    topics = [getattr(settings.topics, one.value) for one in dict.fromkeys(actions)]
    with TopicReader(settings.kafka, topics, start=start.value) as reader:
        yield from reader.read_all(follow=follow)


def _decode(record: TopicRecord) -> Verdict | None:
    try:
        return Verdict.model_validate_json(record.value or b"")
    except ValueError:
        return None


@contextmanager
def _shower(form: Format, *, live: bool) -> Iterator[Any]:
    if form is Format.TABLE:
        with _table_shower(live=live) as add_row:
            yield add_row
        return

    def show(verdict: Verdict, record: TopicRecord) -> None:
        if form is Format.JSON:
            text = json_line(record.value or b"")
        else:
            text = human_line(verdict) if form is Format.LINES else chinese_lines(verdict)
        # Flushed, so that a pipe gets each verdict when it comes.
        print(text, flush=True)  # noqa: T201 - the command's output

    yield show


@contextmanager
def _table_shower(*, live: bool) -> Iterator[Any]:
    """A table that moves on a terminal while following; else one at the end."""
    from rich.console import Console  # noqa: PLC0415 - only this form needs it
    from rich.live import Live  # noqa: PLC0415 - the same

    console = Console(file=sys.stdout)
    moving = live and console.is_terminal
    rows: deque[Verdict] = deque(maxlen=_LIVE_ROWS if moving else _TABLE_ROWS)
    if moving:
        with Live(console=console, auto_refresh=False) as screen:

            def redraw(verdict: Verdict, _record: TopicRecord) -> None:
                rows.append(verdict)
                screen.update(_table(rows), refresh=True)

            yield redraw
        return
    try:
        yield lambda verdict, _record: rows.append(verdict)
    finally:
        console.print(_table(rows))


def _table(rows: deque[Verdict]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - only this form needs it
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for verdict in rows:
        when, _action, *rest = _cells(verdict)
        action = Text(verdict.action.value, style=_COLOURS[verdict.action])
        # Text, not str: a square bracket in an id is no markup.
        table.add_row(Text(when), action, *map(Text, rest))
    return table
