"""The demo from beginning to end: broker, worker, replay, what it shows, and the count from the topics."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.demo.tally import (
    DemoTally,
    EngineCounts,
    LastVerdicts,
    Snapshot,
    identity,
    parse,
)
from sluicegate.pipeline.trial.local import WorkerProcess, local_system
from sluicegate.pipeline.trial.screen import TrialScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


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


class DemoReplay:
    """Sends records in their order. Use as a context manager, from the event loop: nothing here blocks.

    Args:
        kafka: The cluster.
        topic: The input topic.
        records: Raw values.
        ahead: Most records sent and not yet answered; more would only measure the queue.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, records: Sequence[bytes], *, ahead: int) -> None:
        self._producer = Producer(kafka, linger_ms=2)
        self._topic = topic
        self._left = deque(records)
        self._ahead = ahead
        self._failure = ""
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._producer.close(0.0)

    @property
    def done(self) -> bool:
        """True once everything was sent."""
        return not self._left

    def top_up(self, answered: int) -> None:
        """Send as many as may be ahead of the answers so far, and as there is room for.

        Raises:
            DemoError: The broker refused a record.
        """
        while self._left and self.sent - answered < self._ahead:
            value = self._left[0]
            who = identity(parse(value), "id")
            key = who[1].encode("utf-8", "replace") if who else None
            if not self._producer.send(self._topic, value, key, report=self._delivered):
                break  # the queue is full: the next call goes on with the same record
            self._left.popleft()
            self.sent += 1
        self._producer.poll()
        if self._failure:
            raise DemoError(f"the broker refused a post ({self._failure}); shorten it, or leave it out")

    def _delivered(self, outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            self._failure = outcome.reason


# Eight times what saturates the CPU engine's four slots: it never starves, and a latency is not
# the length of a queue that the demo itself made.
_AHEAD = 32
_READ_S = 0.05
_SETTLE_S = 1.0  # a repeat would follow its first answer at once
_PATIENCE_S = 120.0  # above the slowest allowed pair of engine calls, 90 s by default
_SCRAPE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to replay, and how."""

    records: Sequence[bytes]
    engine: Literal["llama_cpp", "fake"]
    policy: Path | None
    show_text: bool
    verdicts: Path | None = None
    """Where every verdict is written, one a line."""
    model: str | None = None
    """The CPU model's name; the small one unless given."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The last snapshot, and where the worker's log is if the accounts do not balance."""

    snapshot: Snapshot
    log: Path | None


async def run_demo(options: DemoOptions, screen: DemoScreen) -> DemoResult:
    """Run the demo. Everything it started is stopped when this returns, raises or is cancelled.

    Raises:
        DemoError: The worker did not start, or ended; the message names its log, which is kept.
        StartError: The embedded broker did not start.
    """
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):  # asyncio.run sees to SIGINT
            loop.add_signal_handler(number, task.cancel)
    settings: dict[str, str] = {"engine.backend": options.engine}
    if options.model is not None:
        settings["engine.model"] = options.model
    if options.policy is not None:
        settings["policy.path"] = str(options.policy.absolute())
    async with local_system("demo", settings, screen.say) as system:
        screen.say(f"replaying {len(options.records)} posts")
        topics = system.topics
        with (
            TopicReader(system.kafka, [topics.posts, *topics.outputs], start="beginning") as reader,
            DemoReplay(system.kafka, topics.posts, options.records, ahead=_AHEAD) as replay,
            _kept(options.verdicts, topics) as keep,
        ):
            snapshot = await _Watch(options, screen, system.worker, keep).follow(reader, replay)
        if snapshot.balanced:
            return DemoResult(snapshot, None)
        return DemoResult(snapshot, system.worker.keep_log())


@contextmanager
def _kept(path: Path | None, topics: TopicSettings) -> Iterator[Callable[[TopicRecord], None]]:
    """Writes the verdicts among the records that it is given, as they stand on their topics."""
    if path is None:
        yield lambda _record: None
        return
    verdicts = frozenset({topics.allow, topics.review, topics.block})
    try:
        file = path.open("wb")
    except OSError as error:
        raise DemoError(f"{path} cannot be written ({error.strerror}); give another place") from error
    with file:

        def keep(record: TopicRecord) -> None:
            if record.topic in verdicts and record.value is not None:
                file.write(record.value + b"\n")

        yield keep


class _Watch:
    """Follows the topics until every record is accounted for, or nothing comes any more."""

    def __init__(
        self,
        options: DemoOptions,
        screen: DemoScreen,
        worker: WorkerProcess,
        keep: Callable[[TopicRecord], None],
    ) -> None:
        self._expected = len(options.records)
        self._screen = screen
        self._worker = worker
        self._keep = keep
        self._tally = DemoTally(TopicSettings())
        self._last = LastVerdicts(self._tally, options.show_text)
        self._counts = self._first_counts = EngineCounts(0.0, {})
        self._began = self._answered_at = time.monotonic()

    async def follow(self, reader: TopicReader, replay: DemoReplay) -> Snapshot:
        self._counts = self._first_counts = await self._scrape()
        self._began = self._answered_at = time.monotonic()
        scraped_at = self._began
        while True:
            replay.top_up(answered=len(self._tally.outbound))
            await self._read(reader)
            self._worker.check()
            now = time.monotonic()
            if now - scraped_at >= _SCRAPE_EVERY_S:
                scraped_at, self._counts = now, await self._scrape()
                self._screen.show(self._snapshot(now))
            if replay.done and self._complete():
                break
            if now - self._answered_at > _PATIENCE_S:
                return self._snapshot(now)
        self._counts = await self._scrape()
        settled_at = time.monotonic() + _SETTLE_S
        while time.monotonic() < settled_at:
            await self._read(reader)
        return self._snapshot(self._answered_at)

    async def _read(self, reader: TopicReader) -> None:
        answered = len(self._tally.outbound)
        for record in await to_the_end(partial(reader.read, _READ_S)):
            self._tally.add(record)
            self._last.add(record)
            self._keep(record)
        if len(self._tally.outbound) > answered:
            self._answered_at = time.monotonic()

    def _complete(self) -> bool:
        # Counting is cheap, balancing is not: it is left for when the counts say that it may be the end.
        if len(self._tally.inbound) < self._expected or len(self._tally.outbound) < self._expected:
            return False
        return not self._tally.balance().lost

    def _snapshot(self, now: float) -> Snapshot:
        return Snapshot(
            expected=self._expected,
            elapsed_s=now - self._began,
            balance=self._tally.balance(),
            busy_s=self._counts.busy_s - self._first_counts.busy_s,
            cache_hits=self._counts.cache_hits,
            last=self._last.rows(),
        )

    async def _scrape(self) -> EngineCounts:
        text = await self._worker.metrics()
        return EngineCounts.parse(text) if text else self._counts
