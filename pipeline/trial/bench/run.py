"""One run from beginning to end: send, read, scrape, and know when to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.trial.bench.arrivals import Arrivals
from sluicegate.pipeline.trial.bench.ledger import Ledger
from sluicegate.pipeline.trial.bench.places import Place
from sluicegate.pipeline.trial.bench.progress import Progress
from sluicegate.pipeline.trial.bench.scrapes import Scrapes
from sluicegate.pipeline.trial.bench.sender import Sender
from sluicegate.pipeline.trial.bench.texts import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager


INTERRUPTED = "interrupted"

_READ_S = 0.05
_FETCH_WAIT_MS = 10
_SCRAPE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to send."""

    arrivals: Arrivals
    lines: Callable[[], Iterator[bytes]]
    """Opens the file of posts."""
    patience_s: float
    """With nothing answered for so long after the last post was sent, what is missing is dropped."""
    settle_s: float
    """Reading goes on for so long after that, for repeats."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left."""

    ledger: Ledger
    scrapes: Scrapes
    stopped: str
    """Why it ended early, or nothing."""
    remark: str
    """What the place does to the figures."""


async def run_bench(place: AbstractAsyncContextManager[Place], load: Load, progress: Progress) -> Outcome:
    """Send a load to a place and follow it until every post is answered or nothing comes any more.

    The first Ctrl-C, SIGTERM or SIGHUP while posts are under way ends the run with what there is;
    before that, and the second time, it cancels.

    Raises:
        PipelineError: The place cannot be reached or started, or lacks one of the topics.
    """
    stop = _Stop()
    stop.listen()
    async with place as where:
        await to_the_end(partial(_require_input, where))
        ledger = Ledger(uuid4().hex[:8], load.arrivals, where.topics)
        with TopicReader(
            where.kafka, where.topics.outputs, start="end", fetch_wait_ms=_FETCH_WAIT_MS
        ) as reader:
            sender = Sender(
                where.kafka, where.topics.posts, values(load.lines, load.arrivals, ledger.name), ledger
            )
            watch = _Watch(where, load, ledger, reader, sender)
            progress.say(f"sending {len(load.arrivals.at_s):,} posts in {load.arrivals.duration_s:.0f} s")
            progress.begin()
            scraping = asyncio.create_task(watch.scrape())
            sender.start()
            stop.under_way = True
            try:
                reason = await watch.follow(progress, stop)
            finally:
                scraping.cancel()
                sender.cut()
                await to_the_end(sender.join)
        progress.show(ledger, final=True)
        return Outcome(ledger, watch.scrapes, reason, where.remark)


def _require_input(where: Place) -> None:
    """Look the input topic up. Blocking.

    A producer would make one under a mistyped name, or learn post by post that there is none.
    The reader asks for all topics, which makes none.
    """
    with TopicReader(where.kafka, [where.topics.posts], start="end"):
        pass


class _Stop:
    """What a person at the terminal wants."""

    def __init__(self) -> None:
        self.under_way = False
        self.wanted = False
        self._task = asyncio.current_task()

    def listen(self) -> None:
        """Take the signals of this process; the loop gives them back when it closes."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._act)

    def _act(self) -> None:
        if self.under_way and not self.wanted:
            self.wanted = True
        elif self._task is not None:
            self._task.cancel()


class _Watch:
    """Follows one run."""

    def __init__(self, place: Place, load: Load, ledger: Ledger, reader: TopicReader, sender: Sender) -> None:
        self._place = place
        self._patience_s = load.patience_s
        self._settle_s = load.settle_s
        self._ledger = ledger
        self._reader = reader
        self._sender = sender
        self._moved_at = time.monotonic()
        self.scrapes = Scrapes()

    async def follow(self, progress: Progress, stop: _Stop) -> str:
        """Read until the end; why it came early, or nothing."""
        try:
            while not self._at_end():
                if reason := self._reason(stop):
                    return reason
                await self._read()
                progress.show(self._ledger)
            settled_at = time.monotonic() + self._settle_s
            while time.monotonic() < settled_at:
                if stop.wanted:
                    return INTERRUPTED
                await self._read()
        except PipelineError as error:  # what was until then is reported
            return str(error)
        return ""

    async def scrape(self) -> None:
        """Ask the workers for their metrics, now and then, until cancelled."""
        began = time.monotonic()
        while texts := await self._place.scrape():
            self.scrapes.add(time.monotonic() - began, texts)
            await asyncio.sleep(_SCRAPE_EVERY_S)

    def _at_end(self) -> bool:
        if self._sender.is_alive():
            self._moved_at = time.monotonic()
            return False
        if self._sender.fault is not None:
            raise self._sender.fault
        return self._ledger.settled or time.monotonic() - self._moved_at > self._patience_s

    def _reason(self, stop: _Stop) -> str:
        if stop.wanted:
            return INTERRUPTED
        self._place.check()
        if self._ledger.backlog_bytes > self._place.most_backlog_bytes:
            return "the backlog outgrew the embedded broker; lower --rate or --duration, or use a cluster"
        return ""

    async def _read(self) -> None:
        answered = self._ledger.answered
        await to_the_end(self._take)
        if self._ledger.answered > answered:
            self._moved_at = time.monotonic()

    def _take(self) -> None:
        records = self._reader.read(_READ_S)
        read_ms = time.time() * 1000
        for record in records:
            self._ledger.add(record, read_ms=read_ms)
