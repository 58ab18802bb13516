"""The demo from beginning to end: broker, worker, replay, and the count from the topics."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.demo.screen import DemoScreen
from sluicegate.pipeline.trial.demo.tally import (
    DemoTally,
    EngineCounts,
    LastVerdicts,
    Snapshot,
    identity,
    parse,
)
from sluicegate.pipeline.trial.local import WorkerProcess, local_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


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
        """Send as many as may be ahead of so many answers, and as there is room for.

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
