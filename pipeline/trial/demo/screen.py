"""The demo's face: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sluicegate.pipeline.trial.demo.tally import Snapshot

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO


_REDRAWS_PER_S = 4
_LINE_EVERY_S = 5.0
# Narrowest widths, in characters: else a long text would squeeze the other columns to nothing.
_LAST_COLUMNS = {
    "post": 10,
    "kind": 8,
    "action": 6,
    "severity": 8,
    "categories": 12,
    "by": 6,
    "text": 12,
}
_COLOURS = {"allow": "green", "review": "yellow", "block": "red"}


class DemoScreen:
    """Shows snapshots. Use as a context manager.

    Args:
        stream: Where to; rich leaves colours out where NO_COLOR is set or the stream is no terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live: Live | None = None
        self._spoke_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=_REDRAWS_PER_S, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """One plain line."""
        self._console.print(Text(sentence), soft_wrap=True)

    def show(self, snapshot: Snapshot, *, final: bool = False) -> None:
        """Redraw the table, or say a line if the last one is some seconds old."""
        if self._live is not None:
            self._live.update(table(snapshot), refresh=final)
        elif final or time.monotonic() - self._spoke_at >= _LINE_EVERY_S:
            self._spoke_at = time.monotonic()
            self.say(line(snapshot))


def line(snapshot: Snapshot) -> str:
    """A snapshot as one line."""
    balance = snapshot.balance
    mix = ", ".join(f"{action} {count}" for action, count in balance.verdicts.items())
    latency = "/".join(_milliseconds(value) for value in snapshot.latency_ms.values())
    return (
        f"{snapshot.elapsed_s:5.0f} s  in {balance.posts} of {snapshot.expected}  {mix}  "
        f"dead letters {balance.dead_letters}  failures {sum(balance.failures.values())}  {snapshot.posts_per_s:.1f} posts/s  "
        f"p50/p95/p99 {latency}  engine busy {snapshot.busy_share:.0%}  "
        f"cache hits {sum(snapshot.cache_hits.values())}"
    )


def table(snapshot: Snapshot) -> Group:
    """A snapshot as two tables: the numbers, and the last verdicts."""
    balance = snapshot.balance
    numbers = Table(title="Sluicegate: posts in, verdicts out", title_justify="left", show_header=False)
    numbers.add_column(style="bold", no_wrap=True)
    numbers.add_column()
    numbers.add_row("in", f"{balance.posts} of {snapshot.expected}")
    for action, count in balance.verdicts.items():
        numbers.add_row(Text(action, style=_COLOURS[action]), str(count))
    numbers.add_row("dead letters", str(balance.dead_letters))
    failures = ", ".join(f"{count} {code}" for code, count in sorted(balance.failures.items()))
    numbers.add_row("could not be scored", failures or "0")
    numbers.add_row("posts/s", f"{snapshot.posts_per_s:.1f} over {snapshot.elapsed_s:.0f} s")
    latency = "   ".join(f"{name} {_milliseconds(value)}" for name, value in snapshot.latency_ms.items())
    numbers.add_row("produce to verdict", latency)
    numbers.add_row("engine busy", f"{snapshot.busy_share:.0%}")
    hits = ", ".join(f"{count} {how}" for how, count in sorted(snapshot.cache_hits.items()))
    numbers.add_row("cache hits", hits or "0")

    last = Table(title="last verdicts", title_justify="left")
    for heading, width in _LAST_COLUMNS.items():
        last.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in snapshot.last:
        # Text, not str: a square bracket in an id is no markup.
        coloured = Text(row.action, style=_COLOURS.get(row.action, ""))
        cells = (row.severity, row.categories, row.assessed_by, row.text)
        last.add_row(Text(row.post_id), Text(row.kind), coloured, *map(Text, cells))
    return Group(numbers, last)


def _milliseconds(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value} ms" if value < 10_000 else f"{value / 1000:.1f} s"
