"""VerdictConsumer: verdicts to a handler, each at least once, only those that count."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, Self

from sluicegate.pipeline.client.errors import ClientClosedError, HandlerError
from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.kafka.member import Member
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings, load_settings
from sluicegate.schemas import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime


class Freshness(Enum):
    """What a verdict is beside the one that counts so far."""

    NEW = "new"
    """It counts from now on: act on it."""
    REPEAT = "repeat"
    """The verdict that counts, once more: done already."""
    OUTDATED = "outdated"
    """An older one, or one on an older revision: never act on it."""


class Newest:
    """The contract's rules for repeats and order, over the posts seen last.

    Of the verdicts on one post the highest (revision, judged_at) counts; equal ones are told
    apart by id, so that every consumer picks the same. A post that was forgotten starts again:
    an old verdict on it would count again.

    Args:
        posts: Most posts remembered, about 0.5 KiB each; those untouched for longest go first.
    """

    def __init__(self, posts: int) -> None:
        self._limit = posts
        self._counts: OrderedDict[tuple[str, str], tuple[int, datetime, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def freshness(self, verdict: Verdict) -> Freshness:
        """What the verdict is, judging by those applied so far. Changes nothing."""
        known = self._counts.get((verdict.tenant, verdict.post_id))
        if known is None:
            return Freshness.NEW
        if known[2] == verdict.verdict_id:
            return Freshness.REPEAT
        return Freshness.NEW if _version(verdict) > known else Freshness.OUTDATED

    def apply(self, verdict: Verdict) -> None:
        """Remember that a new verdict was acted on, or that the one that counts came again.

        A repeat may be judged later than the first: what lies between the two is outdated.
        """
        post = verdict.tenant, verdict.post_id
        version = _version(verdict)
        self._counts[post] = max(version, self._counts.get(post, version))
        self._counts.move_to_end(post)
        while len(self._counts) > self._limit:
            self._counts.popitem(last=False)


def _version(verdict: Verdict) -> tuple[int, datetime, str]:
    return verdict.revision, verdict.judged_at, verdict.verdict_id


_log = logging.getLogger("sluicegate.client")

_TAKE_S = 0.5  # how soon a stop is noticed where nothing comes
_PAUSE_MOST_S = 10.0


@dataclass(slots=True)
class Counts:
    """What became of the records taken."""

    handled: int = 0
    repeats: int = 0
    outdated: int = 0
    unreadable: int = 0
    """No verdicts, or of another major version: logged with their place, and passed over."""


class VerdictConsumer:
    """Consumes verdicts as a member of a group. Use as an async context manager, in one task.

    The handler sees a verdict at least once, and only if it counts: repeats and outdated
    verdicts are passed over (:class:`~sluicegate.pipeline.client.consumer.Newest`). Its offset is committed only
    after the handler returned. What the memory forgot, or another member handled, may come
    again: keep (revision, judged_at) beside your own data where acting twice does harm.

    Args:
        group: Consumer group, one per application.
        kafka: The cluster; by default from the environment (``SLUICEGATE_KAFKA__…``).
        topics: Topic names; by default from the environment (``SLUICEGATE_TOPICS__…``).
        actions: Which verdicts; newest-wins needs all three.
        start: Where a group begins: at the beginning of its topics, or at the ends that they have when its first member
            opens; what is added to them later is read from its beginning.
        memory_posts: Number of posts whose counting verdict is remembered, about 0.5 KiB each.
        attempts: How often a failing handler is called for one verdict.
        pause_s: Seconds before the second attempt; doubles up to 10.
    """

    def __init__(  # noqa: PLR0913 - every one has a default, and is named by the caller
        self,
        group: str,
        kafka: KafkaSettings | None = None,
        topics: TopicSettings | None = None,
        *,
        actions: Sequence[Action] = tuple(Action),
        start: Literal["beginning", "end"] = "beginning",
        memory_posts: int = 100_000,
        attempts: int = 5,
        pause_s: float = 0.5,
    ) -> None:
        self._group = group
        self._kafka = kafka or load_settings(library=True).kafka
        names = topics or load_settings(library=True).topics
        by_action = {Action.ALLOW: names.allow, Action.REVIEW: names.review, Action.BLOCK: names.block}
        self._topics = [by_action[action] for action in actions]
        self._start = start
        self._newest = Newest(memory_posts)
        self._attempts = attempts
        self._pause_s = pause_s
        self._member: Member | None = None
        self._taking: asyncio.Future[TopicRecord | None] | None = None
        self._taken: TopicRecord | None = None
        self._stopped = False
        self.counts = Counts()

    async def __aenter__(self) -> Self:
        """Join the group.

        Raises:
            ClusterError: The cluster does not answer, or lacks one of the topics.
        """
        member = Member(self._kafka, self._topics, self._group, start=self._start)
        try:
            await to_the_end(member.open)
        except BaseException:
            member.close()
            raise
        self._member = member
        return self

    async def __aexit__(self, *_exc: object) -> None:
        member, self._member = self._member, None
        if self._taking is not None:  # a cancelled run left its thread at work
            await asyncio.gather(self._taking, return_exceptions=True)
            self._taking = None
        if member is not None:
            await asyncio.to_thread(member.close)

    def stop(self) -> None:
        """Let :meth:`run` return after the verdict in hand. For the handler, a task or a signal handler of the loop."""
        self._stopped = True

    async def run(self, handler: Callable[[Verdict], Awaitable[None] | None]) -> None:
        """Hand each verdict that counts to the handler, one at a time, until :meth:`stop`.

        A coroutine function is awaited; a plain function runs in a thread, so it may block.
        The handler has 5 minutes for one verdict, attempts included, or the group takes its
        partitions away. Cancelling is safe: a verdict in hand is not committed and comes again,
        from the next run, or from the next consumer.

        Raises:
            HandlerError: The handler failed ``attempts`` times on one verdict.
            ClusterError: The topics cannot be read any more.
            ClientClosedError: Outside the context.
        """
        self._stopped = False
        while not self._stopped:
            member = self._member
            if member is None:
                raise ClientClosedError("the consumer is not open; use it inside `async with`")
            record = await self._take(member)
            if record is None:
                continue
            verdict = record.event(Verdict)
            if verdict is None:
                self.counts.unreadable += 1
                _log.error("no verdict at %s/%d/%d", record.topic, record.partition, record.offset)
            else:
                await self._apply(verdict, handler)
            member.done(record)
            self._taken = None
            await asyncio.sleep(0)  # a backlog that needs no handler must not keep the loop to itself

    async def _take(self, member: Member) -> TopicRecord | None:
        """The record in hand, or the next one. Cancelling loses none."""
        if self._taken is None and self._taking is None:
            self._taken = member.take(0)  # most often librdkafka has it already
        if self._taken is None:
            if self._taking is None:
                self._taking = asyncio.ensure_future(asyncio.to_thread(member.take, _TAKE_S))
            taking = self._taking
            await asyncio.wait([taking])
            self._taking = None
            self._taken = taking.result()
        return self._taken

    async def _apply(self, verdict: Verdict, handler: Callable[[Verdict], Awaitable[None] | None]) -> None:
        freshness = self._newest.freshness(verdict)
        if freshness is Freshness.OUTDATED:
            self.counts.outdated += 1
            return
        if freshness is Freshness.REPEAT:
            self.counts.repeats += 1
        else:
            await self._handle(verdict, handler)
            self.counts.handled += 1
        self._newest.apply(verdict)

    async def _handle(self, verdict: Verdict, handler: Callable[[Verdict], Awaitable[None] | None]) -> None:
        pause_s = self._pause_s
        for attempt in range(1, self._attempts + 1):
            try:
                await _call(handler, verdict)
            except Exception as error:
                _log.warning(
                    "handler failed on verdict %s, attempt %d of %d: %s",
                    verdict.verdict_id,
                    attempt,
                    self._attempts,
                    frames(error),
                )
                if attempt == self._attempts:
                    raise HandlerError(verdict.verdict_id, verdict.post_id, attempt) from error
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MOST_S)
            else:
                return


async def _call(handler: Callable[[Verdict], Awaitable[None] | None], verdict: Verdict) -> None:
    if inspect.iscoroutinefunction(handler):
        await handler(verdict)
        return
    result = await asyncio.to_thread(handler, verdict)
    if result is not None:
        await result
