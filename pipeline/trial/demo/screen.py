"""The demo's face: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sluicegate.pipeline.trial.demo.tally import Snapshot
from sluicegate.pipeline.trial.screen import TrialScreen

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


class DemoScreen(TrialScreen[Snapshot]):
    """Shows snapshots: two tables on a terminal."""

    def line(self, state: Snapshot) -> str:
        """A snapshot as one line."""
        balance = state.balance
        mix = ", ".join(f"{action} {count}" for action, count in balance.verdicts.items())
        latency = "/".join(_milliseconds(value) for value in state.latency_ms.values())
        return (
            f"{state.elapsed_s:5.0f} s  in {balance.posts} of {state.expected}  {mix}  "
            f"dead letters {balance.dead_letters}  failures {sum(balance.failures.values())}  {state.posts_per_s:.1f} posts/s  "
            f"p50/p95/p99 {latency}  engine busy {state.busy_share:.0%}  "
            f"cache hits {sum(state.cache_hits.values())}"
        )

    def picture(self, state: Snapshot) -> Group:
        """A snapshot as two tables: the numbers, and the last verdicts."""
        balance = state.balance
        numbers = Table(title="Sluicegate: posts in, verdicts out", title_justify="left", show_header=False)
        numbers.add_column(style="bold", no_wrap=True)
        numbers.add_column()
        numbers.add_row("in", f"{balance.posts} of {state.expected}")
        for action, count in balance.verdicts.items():
            numbers.add_row(Text(action, style=_COLOURS[action]), str(count))
        numbers.add_row("dead letters", str(balance.dead_letters))
        failures = ", ".join(f"{count} {code}" for code, count in sorted(balance.failures.items()))
        numbers.add_row("could not be scored", failures or "0")
        numbers.add_row("posts/s", f"{state.posts_per_s:.1f} over {state.elapsed_s:.0f} s")
        latency = "   ".join(f"{name} {_milliseconds(value)}" for name, value in state.latency_ms.items())
        numbers.add_row("produce to verdict", latency)
        numbers.add_row("engine busy", f"{state.busy_share:.0%}")
        hits = ", ".join(f"{count} {how}" for how, count in sorted(state.cache_hits.items()))
        numbers.add_row("cache hits", hits or "0")

        last = Table(title="last verdicts", title_justify="left")
        for heading, width in _LAST_COLUMNS.items():
            last.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=width)
        for row in state.last:
            # Text, not str: a square bracket in an id is no markup.
            coloured = Text(row.action, style=_COLOURS.get(row.action, ""))
            cells = (row.severity, row.categories, row.assessed_by, row.text)
            last.add_row(Text(row.post_id), Text(row.kind), coloured, *map(Text, cells))
        return Group(numbers, last)


def _milliseconds(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value} ms" if value < 10_000 else f"{value / 1000:.1f} s"
