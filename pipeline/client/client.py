"""Client: publish a post and wait for its verdict, to gate something by it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from sluicegate.pipeline.client.consumer import Newest
from sluicegate.pipeline.client.errors import (
    ClientClosedError,
    ClientError,
    DeadLetteredError,
    NoVerdictError,
)
from sluicegate.pipeline.client.producer import PostProducer
from sluicegate.pipeline.client.threads import to_the_end
from sluicegate.pipeline.kafka.reader import Tail, TopicRecord
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings, load_settings
from sluicegate.schemas import Action, DeadLetter, Post, Resolution, Verdict, content_hash, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class _Caller:
    """One caller; ``judged`` and ``payload_hash`` say which events are about its very post."""

    judged: tuple[str, int, str]
    payload_hash: str
    answer: asyncio.Future[Verdict | Resolution | ClientError]


class WaitingCallers:
    """The callers that wait, by record key. Only the event loop's thread may change it."""

    def __init__(self) -> None:
        self._callers: dict[bytes, list[_Caller]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._callers.values()))

    def wants(self, key: bytes | None) -> bool:
        """True if somebody waits for a record with this key. Any thread may ask."""
        return key in self._callers

    @contextmanager
    def expect(self, post: Post) -> Iterator[asyncio.Future[Verdict | Resolution | ClientError]]:
        """Wait for the verdict on a post; the caller is forgotten on the way out, whatever happens.

        The future's result is the verdict, a person's decision, or what to raise instead. It may be cancelled. An
        event answers only if it is about the same text and fields, so that an id used twice
        never gets another text's verdict.
        """
        caller = _Caller(
            judged=(post.tenant, post.revision, content_hash(post)),
            payload_hash=f"sha256:{hashlib.sha256(encode(post)).hexdigest()}",
            answer=asyncio.get_running_loop().create_future(),
        )
        key = post.id.encode()
        self._callers.setdefault(key, []).append(caller)
        try:
            yield caller.answer
        finally:
            same_key = self._callers[key]
            same_key.remove(caller)
            if not same_key:
                del self._callers[key]

    def answer(self, record: Verdict | Resolution) -> None:
        """Wake the caller that waits for this verdict or decision. One that comes again wakes no caller."""
        judged = record.tenant, record.revision, record.content_hash
        for caller in self._callers.get(record.post_id.encode(), ()):
            if caller.judged == judged and not caller.answer.done():
                caller.answer.set_result(record)

    def bury(self, key: bytes, letter: DeadLetter) -> None:
        """Wake the caller that waits for the post of this dead letter, with an error."""
        for caller in self._callers.get(key, ()):
            if caller.payload_hash == letter.payload_hash and not caller.answer.done():
                error = DeadLetteredError(
                    key.decode(), str(letter.code), letter.detail, letter.dead_letter_id
                )
                caller.answer.set_result(error)

    def fail(self, error: Callable[[], ClientError]) -> None:
        """Wake everybody with an error, each with one of its own."""
        for callers in self._callers.values():
            for caller in callers:
                if not caller.answer.done():
                    caller.answer.set_result(error())


_log = logging.getLogger("sluicegate.client")

_READ_S = 0.2  # how soon leaving is noticed where nothing comes

OnTimeout = Literal["allow", "review", "block", "raise"]
"""What a caller gets after waiting in vain: an action to take, or :class:`NoVerdictError`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to do with a post, and the record that says so."""

    action: Action
    verdict: Verdict | None
    """None where none came in time, and where a person decided."""
    resolution: Resolution | None = None
    """A person's decision on this very content. It counts for more than any verdict."""

    @property
    def timed_out(self) -> bool:
        """True if nothing came in time, and the caller's own choice decided."""
        return self.verdict is None and self.resolution is None


class Client:
    """Judges posts through the workers. Use as an async context manager, from one event loop.

    One reader without a group follows the verdict and dead-letter topics for all callers of
    this process; it disturbs no consumer. It reads every verdict, and decodes those that are
    waited for.

    Args:
        kafka: The cluster; by default from the environment (``SLUICEGATE_KAFKA__…``).
        topics: Topic names; by default from the environment (``SLUICEGATE_TOPICS__…``).
        resolutions: Number of people's decisions to remember, about 1 KiB each. With it, what people decide while the
            client is open counts for more than a later verdict on the same content. 0 reads none. The topic
            ``resolutions`` must exist.
    """

    def __init__(
        self,
        kafka: KafkaSettings | None = None,
        topics: TopicSettings | None = None,
        *,
        resolutions: int = 0,
    ) -> None:
        self._kafka = kafka or load_settings(library=True).kafka
        self._topics = topics or load_settings(library=True).topics
        # A caller waits for each post: company in a request is worth no delay.
        self._producer = PostProducer(self._kafka, self._topics, linger_ms=0, flush_s=1.0)
        self._waiting = WaitingCallers()
        self._decided = Newest(resolutions) if resolutions else None
        self._reader: threading.Thread | None = None
        self._running = False
        self._trouble: str | None = None

    @property
    def waiting(self) -> int:
        """How many callers wait for a verdict now."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        """Find the ends of the topics, so that no verdict on a later post can be missed.

        Raises:
            ClusterError: The cluster does not answer, or lacks one of the topics.
        """
        people = () if self._decided is None else (self._topics.resolutions,)
        tail = Tail(self._kafka, (*self._topics.outputs, *people))
        try:
            await to_the_end(tail.open)
            self._producer.__enter__()
        except BaseException:
            tail.close()
            raise
        self._running = True
        self._reader = threading.Thread(
            target=self._read, args=(tail, asyncio.get_running_loop()), name="sluicegate-tail", daemon=True
        )
        self._reader.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave; who still waits gets :class:`ClientClosedError`."""
        self._running = False
        self._waiting.fail(lambda: ClientClosedError("the client was closed before the verdict came"))
        await self._producer.__aexit__(*exc)
        if self._reader is not None:
            await asyncio.to_thread(self._reader.join)

    async def judge(
        self,
        post: Post,
        *,
        timeout_s: float,
        on_timeout: OnTimeout = "raise",
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Reply:
        """Publish a post and wait for its verdict. Any number of calls may overlap.

        A verdict on other content, on another revision or for another tenant is never taken for
        this one, even where the id is the same. Cancelling, like a timeout, ends the wait only:
        the post is judged, and its verdict reaches other consumers.

        Args:
            post: The post; each text needs an id of its own, or its next revision.
            timeout_s: For publishing and waiting together.
            on_timeout: What counts if no verdict came by then.
            headers: Such as ``traceparent``, which the verdict carries on.

        Raises:
            NoVerdictError: No verdict in time, and ``on_timeout`` is ``raise``.
            NotDeliveredError: The post is too large, or the brokers refused it.
            DeadLetteredError: The worker buried the post: it can never be judged.
            ClientClosedError: The client is not open, or was closed meanwhile.
            ClientError: The reader ended by a fault; leave the context and enter a new client.
        """
        if not self._running:
            raise ClientClosedError("the client is not open; use it inside `async with`")
        with self._waiting.expect(post) as answer:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._producer.send(post, headers=headers)
                    judged = await answer
            except TimeoutError:
                if on_timeout == "raise":
                    raise NoVerdictError(post.id, timeout_s, self._trouble) from None
                return Reply(Action(on_timeout), None)
        if isinstance(judged, ClientError):
            raise judged
        if isinstance(judged, Resolution):
            return Reply(judged.action, None, judged)
        return Reply(judged.action, judged)

    def _read(self, tail: Tail, loop: asyncio.AbstractEventLoop) -> None:
        """Body of the reader thread: hand on what somebody waits for, until told to stop."""
        try:
            while self._running:
                records, trouble = tail.read(_READ_S), tail.trouble
                if trouble is not None and trouble != self._trouble:
                    _log.warning("verdict topics: %s", trouble)
                self._trouble = trouble if trouble or records else self._trouble
                wanted = [
                    record
                    for record in records
                    if self._waiting.wants(record.key) or record.topic == self._topics.resolutions
                ]
                if wanted:
                    loop.call_soon_threadsafe(self._hand_on, wanted)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for a dead reader
            _log.error("the reader of verdicts ended: %s", frames(error))
            self._running = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(
                    self._waiting.fail,
                    lambda: ClientError("the reader of verdicts ended; enter a new client"),
                )
        finally:
            tail.close()

    def _hand_on(self, records: list[TopicRecord]) -> None:
        for record in records:
            if record.topic == self._topics.resolutions:
                self._learn(record.event(Resolution))
            elif record.topic != self._topics.dead_letter:
                if verdict := record.event(Verdict):
                    self._waiting.answer(self._counting(verdict))
            elif record.key is not None and (letter := record.event(DeadLetter)):
                self._waiting.bury(record.key, letter)

    def _learn(self, resolution: Resolution | None) -> None:
        if resolution is None or self._decided is None:
            return
        self._decided.apply(resolution)
        if self._decided.decided(resolution) is resolution and not resolution.reopens:
            self._waiting.answer(resolution)

    def _counting(self, verdict: Verdict) -> Verdict | Resolution:
        """A verdict, or the person's decision that counts for more."""
        if self._decided is None or not self._decided.knows(verdict):
            return verdict
        self._decided.apply(verdict)
        decided = self._decided.decided(verdict)
        if decided is None or decided.reopens:
            return verdict
        same = (decided.revision, decided.content_hash) == (verdict.revision, verdict.content_hash)
        return decided if same else verdict
