"""One run from beginning to end: send, read, scrape, and know when to stop."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TextIO
from uuid import uuid4

from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.bench.figures import Scrapes
from sluicegate.pipeline.trial.bench.ledger import Ledger
from sluicegate.pipeline.trial.bench.load import Arrivals, values
from sluicegate.pipeline.trial.bench.places import LoadPlace
from sluicegate.pipeline.trial.screen import TrialScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager


class RunProgress(TrialScreen[Ledger]):
    """Tells of a run in one line, which moves on a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._began = clock()

    def begin(self) -> None:
        """Count seconds from now."""
        self._began = self._shown_at = self._clock()

    def line(self, state: Ledger) -> str:
        """The state of a run as one line."""
        latency = "/".join(
            "–" if value is None else f"{value:,.0f}"
            for value in (state.latency.percentile_ms(share) for share in (0.5, 0.95, 0.99))
        )
        return (
            f"{self._clock() - self._began:5.0f} s  sent {state.sent:,} of {len(state.arrivals.at_s):,}  "
            f"answered {state.answered:,}  p50/p95/p99 {latency} ms"
        )


_LINGER_MS = 1.0
_QUEUE_RECORDS = 100_000  # librdkafka's own default
_FULL_PAUSE_S = 0.01
_NO_ROOM = "_QUEUE_FULL"  # librdkafka's name of it
_FLUSH_STEP_S = 0.2
_FLUSH_MORE_S = 5.0  # beyond the delivery timeout, for the report of it
_CUT_FLUSH_S = 2.0
_WARM_S = 1.0
"""A fresh producer asks the brokers for its id, at first and then every 0.5 s; until it has one nothing is delivered."""


class Sender(threading.Thread):
    """Sends the records of a run in their order, in a thread of its own. Start it once.

    Args:
        kafka: The cluster.
        topic: The input topic.
        values: What to send, one for each arrival.
        ledger: Knows the arrivals, and notes what is sent.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, values: Iterator[bytes], ledger: Ledger) -> None:
        super().__init__(name="sluicegate-bench", daemon=True)
        self._kafka = kafka
        self._topic = topic
        self._values = values
        self._ledger = ledger
        self._cut = threading.Event()
        self.fault: Exception | None = None
        """What ended the sending before its time."""
        self.began = threading.Event()
        """Set once its clock runs, or it ended before that."""

    def cut(self) -> None:
        """Send nothing more; the thread ends soon."""
        self._cut.set()

    def run(self) -> None:
        """Warm the client up, and send until all is sent or it is cut."""
        try:
            producer = Producer(self._kafka, queue_records=_QUEUE_RECORDS, linger_ms=_LINGER_MS, polls=True)
            try:
                if not self._cut.wait(_WARM_S):
                    self._send(producer)
            finally:
                self._flush(producer)
                producer.close(_CUT_FLUSH_S)
        except Exception as error:  # noqa: BLE001 - who watches this thread raises it
            self.fault = error
        finally:
            self.began.set()

    def _flush(self, producer: Producer) -> None:
        """Wait for what is under way, in steps: a cut does not wait for brokers that are out."""
        until = time.monotonic() + self._kafka.delivery_timeout_s + _FLUSH_MORE_S
        while not self._cut.is_set() and time.monotonic() < until:
            if not producer.flush(_FLUSH_STEP_S):
                return

    def _send(self, producer: Producer) -> None:
        began = time.monotonic()
        self._ledger.began_ms = time.time() * 1000
        self.began.set()
        for number, (at_s, value) in enumerate(zip(self._ledger.arrivals.at_s, self._values, strict=True)):
            left_s = began + at_s - time.monotonic()
            if self._cut.wait(left_s) if left_s > 0 else self._cut.is_set():
                return
            self._ledger.note_sent(number, at_ms=time.time() * 1000, size=len(value))
            key, report = self._ledger.name(number).encode(), partial(self._report, number)
            while not producer.send(self._topic, value, key, report=report):
                if self._cut.wait(_FULL_PAUSE_S):
                    self._ledger.note_refused(number, _NO_ROOM)
                    return

    def _report(self, number: int, outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            self._ledger.note_refused(number, outcome.reason)


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
class RunOutcome:
    """What a run left."""

    ledger: Ledger
    scrapes: Scrapes
    stopped: str
    """Why it ended early, or nothing."""
    remark: str
    """What the place does to the figures."""


async def run_bench(
    place: AbstractAsyncContextManager[LoadPlace], load: Load, progress: RunProgress
) -> RunOutcome:
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
            watch = _RunWatch(where, load, ledger, reader, sender)
            progress.say(f"sending {len(load.arrivals.at_s):,} posts in {load.arrivals.duration_s:.0f} s")
            sender.start()
            stop.under_way = True
            try:
                await to_the_end(sender.began.wait)
                progress.begin()
                scraping = asyncio.create_task(watch.scrape())
                try:
                    reason = await watch.follow(progress, stop)
                finally:
                    scraping.cancel()
            finally:
                sender.cut()
                await to_the_end(sender.join)
        progress.show(ledger, final=True)
        return RunOutcome(ledger, watch.scrapes, reason, where.remark)


def _require_input(where: LoadPlace) -> None:
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


class _RunWatch:
    """Follows one run."""

    def __init__(
        self, place: LoadPlace, load: Load, ledger: Ledger, reader: TopicReader, sender: Sender
    ) -> None:
        self._place = place
        self._patience_s = load.patience_s
        self._settle_s = load.settle_s
        self._ledger = ledger
        self._reader = reader
        self._sender = sender
        self._moved_at = time.monotonic()
        self.scrapes = Scrapes()

    async def follow(self, progress: RunProgress, stop: _Stop) -> str:
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
