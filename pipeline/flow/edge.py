"""The edge: the path of a post where there is no engine.

1 take, 2 decode, 3 ask the screen, 4 decide or forward, 5 publish, 6 acknowledge.

What the screen may answer leaves as a verdict; everything else, and what is no post at all, goes on to a second
topic as it came, for workers with an engine. Nothing is acknowledged before the brokers have the one or the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.screen import Screen
from sluicegate.pipeline.flow.answers import Answer, Answers
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.flow.screening import Screening, screen_stamp
from sluicegate.pipeline.flow.steps import PublishAndAcknowledge, TakeAndDecode, next_chunk
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery, Forwarded, Outlet, Record, Slot, dead_letter_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.screening import Sample, hops_of, with_ours, without_ours
from sluicegate.schemas import FailureCode, Post, ReasonCode, Rejection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


_log = structlog.get_logger(__name__)

MOST_HOPS = 4
"""A record that was forwarded so often goes in a circle."""


@dataclass(slots=True, eq=False)
class _Taken:
    """A record in the window, and the post in it."""

    slot: Slot
    post: Post
    answered: bool = False
    sample: Sample | None = field(default=None)

    @property
    def over(self) -> bool:
        return self.answered or self.slot.released


class EdgeFlow:
    """Carries posts from a source to verdicts or to the second topic. One per worker; one event loop."""

    def __init__(
        self,
        settings: Settings,
        policy: Callable[[], Policy],
        window: Window,
        outlet: Outlet,
        instruments: Instruments,
        screen: Screen,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._window = window
        self._metrics = instruments.metrics
        self._clock = instruments.clock
        self._stamp = screen_stamp(screen.digest)
        self._answers = Answers(settings, policy=policy, instruments=instruments)
        self.breaker = self._answers.breaker
        self._screening = Screening(settings.screen, policy, instruments, self._answers, screen)
        self.switch = self._screening.switch
        self.servers = None
        self._take_and_decode = TakeAndDecode(window, settings.limits.post_bytes, instruments)
        self._publish_and_acknowledge = PublishAndAcknowledge(window, outlet, instruments)
        self._decoded: asyncio.Queue[_Taken] = asyncio.Queue()  # bounded by the window
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, source: AsyncIterator[Delivery]) -> None:
        """Carry posts until the source ends or the task is cancelled.

        Cancelling abandons what is in flight, unacknowledged.

        Raises:
            ExceptionGroup: The producer died for good, or a fault of ours; the process must end.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                screening = tasks.create_task(self._screen_all())
                await self._take_all(source)
                await self._window.drained()
                screening.cancel()
        finally:
            self._tasks = None

    @property
    def running(self) -> bool:
        """False once nothing that is held will be answered any more."""
        return self._tasks is not None

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        return self._publish_and_acknowledge.give_back()

    async def _take_all(self, source: AsyncIterator[Delivery]) -> None:
        async for slot, post in self._take_and_decode.posts(source):  # 1, 2
            if isinstance(post, Rejection):
                self._spawn([self._forward(slot, post, None)])
            else:
                self._decoded.put_nowait(_Taken(slot, post))

    async def _screen_all(self) -> None:
        while True:
            chunk = await next_chunk(self._decoded)
            answered = await self._screening.look_up([one for one in chunk if self._is_short(one.post)])  # 3
            answered += [self._forward(one.slot, one.post, one.sample) for one in chunk if not one.over]  # 4
            self._spawn(answered)

    def _is_short(self, post: Post) -> bool:
        """False where it may be too long to be scored; nobody counts tokens here, or segments, and no byte is two tokens."""
        rules, most = self._policy().rules(post), self._settings.limits.post_tokens
        if rules.max_tokens is not None:
            most = min(most, rules.max_tokens)
        return rules.max_segments is None and len(post.text.encode()) <= most

    def _forward(self, slot: Slot, post: Post | Rejection, sample: Sample | None) -> Answer:
        """Send a record on; one that went in a circle gets an answer here, or it would go on for ever."""
        delivery = slot.delivery
        if hops_of(delivery.headers) >= MOST_HOPS:
            _log.error("forwarded_in_a_circle", topic=self._settings.topics.forward)
            if isinstance(post, Rejection):
                return self._answers.dead_letter(slot, post)
            failed = ItemFailure(FailureCode.INTERNAL, "forwarded in a circle")
            return self._answers.without_engine(slot, post, failed, self._stamp)
        headers = with_ours(delivery.headers, sample)
        record = Forwarded(
            self._settings.topics.forward,
            delivery.key,
            delivery.value or b"",
            headers,
            bare=without_ours(delivery.headers),
            bury=lambda: self._buried(delivery),
            sampled=sample is not None,
        )
        return Answer(slot, record, "")

    def _buried(self, delivery: Delivery) -> Record:
        """The dead letter of a record that the second topic takes in no form."""
        size, kept_bytes = len(delivery.value or b""), self._settings.limits.dead_letter_bytes
        refused = Rejection(ReasonCode.OVERSIZE, f"{size} bytes; {self._settings.topics.forward} takes less")
        letter = bury(delivery, refused, payload_bytes=kept_bytes, now=self._clock.utc())
        self._metrics.dead_letters.labels(str(letter.code)).inc()  # what was answered is the record forwarded
        return dead_letter_record(letter, delivery, self._settings.topics)

    def _spawn(self, answered: list[Answer]) -> None:
        if self._tasks is None:
            raise RuntimeError("the flow is not running")
        self._tasks.create_task(self._publish(answered))

    async def _publish(self, answered: list[Answer]) -> None:
        await self._publish_and_acknowledge.publish(
            [answer for answer in answered if not answer.slot.released]
        )  # 5 and 6
