"""The edge: the path of a post where there is no engine.

1 take, 2 decode, 3 ask the screen, 7 decide or forward, 8 publish, 9 acknowledge.

What the screen may answer leaves as a verdict; everything else, and what is no post at all, goes on to a second
topic as it came, for workers with an engine. Nothing is acknowledged before the brokers have the one or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.screen import Screener
from sluicegate.pipeline.flow.answers import Answer
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.flow.flow import PostPath
from sluicegate.pipeline.flow.in_work import Arrival
from sluicegate.pipeline.flow.screening import screen_stamp
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.patterns.matcher import Matcher
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery, Forwarded, Outlet, Record, Slot, dead_letter_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.screening import Sample, hops_of, with_ours, without_ours
from sluicegate.schemas import FailureCode, Post, ReasonCode, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_log = structlog.get_logger(__name__)

MOST_HOPS = 4
"""A record that was forwarded so often goes in a circle."""


class EdgeFlow(PostPath):
    """Carries posts from a source to verdicts or to the second topic."""

    def __init__(
        self,
        settings: Settings,
        policy: Callable[[], Policy],
        window: Window,
        outlet: Outlet,
        instruments: Instruments,
        screen: Screener,
        *,
        matcher: Matcher | None = None,
    ) -> None:
        super().__init__(settings, policy, window, outlet, instruments, screen, matcher=matcher)
        self._stamp = screen_stamp(screen)
        self.servers = None

    async def _look_up(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        short = [one for one in arrivals if self._is_short(one.post)]
        answers, samples = await self._screening.look_up(short)
        forwarded = [one for one in arrivals if one not in answers and not one.over]
        return [
            *answers.values(),
            *(self._forward(one.slot, one.post, samples.get(one)) for one in forwarded),
        ]

    def _reject(self, slot: Slot, rejection: Rejection) -> Answer:
        return self._forward(slot, rejection, None)

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
            return self._answers.without_engine(slot, post, self._policy(), failed, self._stamp)
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
        return Answer(slot, record)

    def _buried(self, delivery: Delivery) -> Record:
        """The dead letter of a record that the second topic takes in no form."""
        size, kept_bytes = len(delivery.value or b""), self._settings.limits.dead_letter_bytes
        refused = Rejection(ReasonCode.OVERSIZE, f"{size} bytes; {self._settings.topics.forward} takes less")
        letter = bury(delivery, refused, payload_bytes=kept_bytes, now=self._clock.utc())
        self._metrics.dead_letters.labels(str(letter.code)).inc()  # what was answered is the record forwarded
        return dead_letter_record(letter, delivery, self._settings.topics)
