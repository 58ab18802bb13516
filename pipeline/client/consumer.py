"""VerdictConsumer: verdicts to a handler, each at least once, only those that count."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from sluicegate.pipeline.client.errors import ClientClosedError, HandlerError
from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.kafka.member import Member
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings, load_settings
from sluicegate.schemas import Action, Resolution, Verdict, precedence
from sluicegate.schemas.precedence import Claims

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class Freshness(Enum):
    """What a record is beside the one that counts so far."""

    NEW = "new"
    """It counts from now on: act on it."""
    REPEAT = "repeat"
    """The record that counts, once more: done already."""
    OUTDATED = "outdated"
    """Another one counts more: never act on it."""
    RECALLED = "recalled"
    """It makes an earlier record count again, such as a person's decision on a text that came back."""


class Newest:
    """The contract's precedence, over the posts seen last. Every consumer picks the same, in whatever order records come.

    A post that was forgotten starts again: an old verdict on it would count again.

    Args:
        posts: Most posts remembered, about 1 KiB each; those untouched for longest go first.
    """

    def __init__(self, posts: int) -> None:
        self._limit = posts
        self._posts: OrderedDict[tuple[str, str], Claims] = OrderedDict()

    def __len__(self) -> int:
        return len(self._posts)

    def freshness(self, record: Verdict | Resolution) -> Freshness:
        """What the record is, judging by those applied so far. Changes nothing."""
        known = self._posts.get((record.tenant, record.post_id))
        if known is None:
            return Freshness.NEW
        new = precedence.claim(record)
        counts = precedence.standing(precedence.add(known, new))
        if counts.name == precedence.standing(known).name:
            return Freshness.REPEAT if counts.name == new.name else Freshness.OUTDATED
        return Freshness.NEW if counts.name == new.name else Freshness.RECALLED

    def apply(self, record: Verdict | Resolution) -> None:
        """Remember a record, whatever it is beside the others.

        A repeat may be judged later than the first: what lies between the two is outdated.
        """
        post = record.tenant, record.post_id
        known, new = self._posts.get(post, ()), precedence.claim(record)
        if (
            known
            and new.record is None
            and any(one.authority and one.content == new.content for one in known)
        ):
            new = new._replace(record=record)  # it counts once that person's word is taken back
        self._posts[post] = precedence.add(known, new)
        self._posts.move_to_end(post)
        while len(self._posts) > self._limit:
            self._posts.popitem(last=False)

    def knows(self, record: Verdict | Resolution) -> bool:
        """True if the post of this record is remembered."""
        return (record.tenant, record.post_id) in self._posts

    def counting(self, record: Verdict | Resolution) -> Verdict | Resolution | None:
        """What counts once this record is there, applied or not; None of a verdict that no person's word hid when it came."""
        known = self._posts.get((record.tenant, record.post_id), ())
        return precedence.standing(precedence.add(known, precedence.claim(record))).record

    def decided(self, record: Verdict | Resolution) -> Resolution | None:
        """The person's decision that counts once this record is there, applied or not; None where the machine's word counts."""
        counts = self.counting(record)
        return counts if isinstance(counts, Resolution) else None


_log = logging.getLogger("sluicegate.client")

_E = TypeVar("_E", Verdict, Resolution)
_TAKE_S = 0.5  # how soon a stop is noticed where nothing comes
_PAUSE_MOST_S = 10.0


@dataclass(slots=True)
class Counts:
    """What became of the records taken."""

    handled: int = 0
    """Verdicts and, where they are asked for, resolutions."""
    repeats: int = 0
    outdated: int = 0
    unreadable: int = 0
    """No such records, or of another major version: logged with their place, and passed over."""


class VerdictConsumer:
    """Consumes verdicts as a member of a group. Use as an async context manager, in one task.

    The handler sees a verdict at least once, and only if it counts: repeats and outdated
    verdicts are passed over (:class:`~sluicegate.pipeline.client.consumer.Newest`). Its offset is committed only
    after the handler returned. What the memory forgot, or another member handled, may come
    again: keep what counts beside your own data where acting twice does harm, and compare by
    ``sluicegate.schemas.precedence``.

    Args:
        group: Consumer group, one per application.
        kafka: The cluster; by default from the environment (``SLUICEGATE_KAFKA__…``).
        topics: Topic names; by default from the environment (``SLUICEGATE_TOPICS__…``).
        actions: Which verdicts; precedence needs all three.
        on_resolution: Gets what people decided, each resolution at least once, and only if it counts, or takes back one
            that did. With it no later verdict on the same content overrules a person. The topic ``resolutions`` must exist,
            with as many partitions as those of verdicts.
        start: Where a group begins: at the beginning of its topics, or at the ends that they have when its first member
            opens; what is added to them later is read from its beginning.
        memory_posts: Number of posts whose counting verdict is remembered, about 1 KiB each.
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
        on_resolution: Callable[[Resolution], Awaitable[None] | None] | None = None,
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
        self._resolutions = names.resolutions
        self._on_resolution = on_resolution
        if on_resolution is not None:
            self._topics.append(names.resolutions)
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
            person = record.topic == self._resolutions
            event = record.event(Resolution) if person else record.event(Verdict)
            if event is None:
                self.counts.unreadable += 1
                kind = "resolution" if person else "verdict"
                _log.error("no %s at %s/%d/%d", kind, record.topic, record.partition, record.offset)
            else:
                await self._apply(event, handler)
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

    async def _apply(
        self, event: Verdict | Resolution, handler: Callable[[Verdict], Awaitable[None] | None]
    ) -> None:
        freshness = self._newest.freshness(event)
        if freshness is Freshness.NEW:
            await self._hand_on(event, handler)
        elif freshness is Freshness.REPEAT:
            self.counts.repeats += 1
        else:
            self.counts.outdated += 1
        if freshness is Freshness.RECALLED:
            recalled = self._newest.counting(event)
            if recalled is None and isinstance(event, Resolution) and event.reopens:
                recalled = event  # the verdict behind it was handed on before: that nobody vouches for the post now is said here
            if recalled is not None:
                await self._hand_on(recalled, handler)
        self._newest.apply(event)  # last: where a handler fails, the record is new once more

    async def _hand_on(
        self, event: Verdict | Resolution, handler: Callable[[Verdict], Awaitable[None] | None]
    ) -> None:
        if isinstance(event, Verdict):
            await self._handle("verdict", event.verdict_id, handler, event)
        elif self._on_resolution is not None:
            await self._handle("resolution", event.resolution_id, self._on_resolution, event)
        self.counts.handled += 1

    async def _handle(
        self, kind: str, name: str, handler: Callable[[_E], Awaitable[None] | None], event: _E
    ) -> None:
        pause_s = self._pause_s
        for attempt in range(1, self._attempts + 1):
            try:
                await _call(handler, event)
            except Exception as error:
                _log.warning(
                    "handler failed on %s %s, attempt %d of %d: %s",
                    kind,
                    name,
                    attempt,
                    self._attempts,
                    frames(error),
                )
                if attempt == self._attempts:
                    raise HandlerError(name, event.post_id, attempt, kind=kind) from error
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MOST_S)
            else:
                return


async def _call(handler: Callable[[_E], Awaitable[None] | None], event: _E) -> None:
    if inspect.iscoroutinefunction(handler):
        await handler(event)
        return
    result = await asyncio.to_thread(handler, event)
    if result is not None:
        await result
