"""PostProducer: posts to the input topic, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sluicegate.pipeline.client.errors import ClientClosedError, NotDeliveredError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings, load_settings
from sluicegate.schemas import Post, encode
from sluicegate.schemas.codec import POST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_FULL_PAUSE_S = 0.01  # librdkafka's queue empties as the brokers answer; a few linger times


@dataclass(frozen=True, slots=True)
class Receipt:
    """The brokers have a post: from here on it is promised an answer."""

    post_id: str
    topic: str
    partition: int
    offset: int


class PostProducer:
    """Publishes posts: idempotent, acks=all, keyed by id, so that edits of one post stay in order.

    Use as a context manager, plain or async. Leaving it waits for what is under way; what is
    not confirmed by then is reported as not delivered. Any thread may use it.

    Args:
        kafka: The cluster; by default from the environment (``SLUICEGATE_KAFKA__…``).
        topics: Topic names; by default from the environment (``SLUICEGATE_TOPICS__…``).
        post_bytes: A larger record is refused here, rather than buried by the worker.
        queue_records: Most records under way. Further ones wait: that is the back-pressure.
        linger_ms: A record waits so long for company in its request.
        flush_s: How long leaving may take, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings | None = None,
        topics: TopicSettings | None = None,
        *,
        post_bytes: int = POST_BYTES,
        queue_records: int = 10_000,
        linger_ms: float = 5.0,
        flush_s: float = 30.0,
    ) -> None:
        self._kafka = kafka or load_settings(library=True).kafka
        self._topic = (topics or load_settings(library=True).topics).posts
        self._post_bytes = post_bytes
        self._queue_records = queue_records
        self._linger_ms = linger_ms
        self._flush_s = flush_s
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        self._producer = Producer(
            self._kafka, queue_records=self._queue_records, linger_ms=self._linger_ms, polls=True
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(self._flush_s)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.to_thread(self.__exit__)

    def submit(
        self,
        post: Post,
        on_delivery: Callable[[Receipt | NotDeliveredError], None],
        *,
        headers: Sequence[tuple[str, bytes]] = (),
        timeout_s: float = 60.0,
    ) -> None:
        """Publish without waiting for the brokers. Blocks while the queue is full: not for an event loop.

        Args:
            post: The post.
            on_delivery: Called once with what became of it, from another thread; must not block.
            headers: Such as ``traceparent``, which the verdict carries on.
            timeout_s: How long to wait for room in the queue.

        Raises:
            NotDeliveredError: Larger than ``post_bytes``, or no room in time; nothing was published.
            ClientClosedError: Outside the context.
        """
        deadline = time.monotonic() + timeout_s
        while not self._offer(post, headers, on_delivery):
            if time.monotonic() > deadline:
                raise NotDeliveredError(post.id, "_QUEUE_FULL")
            time.sleep(_FULL_PAUSE_S)

    async def send(self, post: Post, *, headers: Sequence[tuple[str, bytes]] = ()) -> Receipt:
        """Publish, and return once the brokers have the post. Calls may overlap.

        Cancelling abandons the wait; the post may still be delivered.

        Raises:
            NotDeliveredError: The post is too large, was refused, or was not confirmed within
                ``kafka.delivery_timeout_s``. In the last case it may be there all the same:
                sending it again is safe, a repeat has the same verdict id.
            ClientClosedError: Outside the context.
        """
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[Receipt | NotDeliveredError] = loop.create_future()

        def _settle(outcome: Receipt | NotDeliveredError) -> None:
            if not delivered.done():
                delivered.set_result(outcome)

        def _on_delivery(outcome: Receipt | NotDeliveredError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, outcome)

        while not self._offer(post, headers, _on_delivery):  # noqa: ASYNC110 - nobody is told when there is room
            await asyncio.sleep(_FULL_PAUSE_S)
        outcome = await delivered
        if isinstance(outcome, NotDeliveredError):
            raise outcome
        return outcome

    def flush(self, timeout_s: float) -> int:
        """Wait until what is under way was reported; blocking. How many posts were not, in time.

        Raises:
            ClientClosedError: Outside the context.
        """
        return self._open().flush(timeout_s)

    def _open(self) -> Producer:
        if self._producer is None:
            raise ClientClosedError("the producer is not open; use it inside `with` or `async with`")
        return self._producer

    def _offer(
        self,
        post: Post,
        headers: Sequence[tuple[str, bytes]],
        on_delivery: Callable[[Receipt | NotDeliveredError], None],
    ) -> bool:
        value = encode(post)
        if len(value) > self._post_bytes:
            reason = f"{len(value)} bytes; the limit is {self._post_bytes}"
            raise NotDeliveredError(post.id, reason, fix="shorten it: no worker judges a longer one")

        def report(outcome: Placed | Refused) -> None:
            if isinstance(outcome, Placed):
                on_delivery(Receipt(post.id, outcome.topic, outcome.partition, outcome.offset))
            else:
                on_delivery(NotDeliveredError(post.id, outcome.reason, fatal=outcome.fatal))

        return self._open().send(self._topic, value, post.id.encode(), headers, report=report)
