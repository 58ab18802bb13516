"""Load: a producer of posts with known ids, at a steady rate, through any outage of the brokers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Producer

from support.collector import Sent

if TYPE_CHECKING:
    from support.workers import Lane

FLUSH_S = 120.0
_TICK_S = 0.02

Make = Callable[[int, random.Random], dict[str, Any]]


def plain_post(number: int, rng: random.Random) -> dict[str, Any]:
    """A short text that no other post has; the fake engine judges it by its hash."""
    return {"id": f"post-{number}", "text": f"post number {number}: " + "word " * rng.randrange(20)}


class Load:
    """Sends posts from a thread of its own until stopped.

    Args:
        lane: Where the posts go.
        rate_per_s: Posts a second.
        seed: Of the generator that ``make`` gets.
        make: Makes the post of a number; its id must be the number's own.
        sent: Where to put what the brokers accepted, as they accept it; a list of its own without one.
        keep: Gets each accepted post in place of the list, for loads too large to hold.
        first: The first post's number.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        rate_per_s: float,
        seed: int | str,
        make: Make = plain_post,
        sent: list[Sent] | None = None,
        keep: Callable[[Sent], None] | None = None,
        first: int = 0,
    ) -> None:
        self._topic = lane.posts
        self.rate_per_s = rate_per_s
        self._rng = random.Random(seed)
        self._make = make
        self._sent: list[Sent] = [] if sent is None else sent
        self._keep = keep or self._sent.append
        self._next = self._first = first
        self._accepted = 0
        self._failed: list[str] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": lane.bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": 600_000,  # an outage delays a post; it never drops one
                "reconnect.backoff.max.ms": 500,
                "log_level": 2,
            }
        )
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @property
    def count(self) -> int:
        """Posts that the brokers accepted so far."""
        return self._accepted

    @property
    def made(self) -> int:
        """Posts handed to the producer so far."""
        return self._next - self._first

    def start(self) -> Load:
        """Begin to send."""
        self._thread.start()
        return self

    def stop(self) -> list[Sent]:
        """Stop sending, deliver what is under way, and say what the brokers accepted. Safe to call twice.

        Raises:
            RuntimeError: A post could not be delivered.
        """
        self._stopping.set()
        self._thread.join()
        left = self._producer.flush(FLUSH_S)
        if left or self._failed:
            raise RuntimeError(
                f"{left} posts were not delivered, {len(self._failed)} failed: {self._failed[:1]}"
            )
        return self._sent

    def _run(self) -> None:
        due = 0.0
        before = time.monotonic()
        while not self._stopping.wait(_TICK_S):
            now = time.monotonic()
            due += (now - before) * self.rate_per_s
            before = now
            while due >= 1 and self._produce():
                due -= 1
            self._producer.poll(0)

    def _produce(self) -> bool:
        post = self._make(self._next, self._rng)
        try:
            self._producer.produce(
                self._topic, orjson.dumps(post), key=post["id"].encode(), on_delivery=self._reporter(post)
            )
        except BufferError:
            return False
        self._next += 1
        return True

    def _reporter(self, post: dict[str, Any]) -> Callable[[Any, Any], None]:
        facts = post["id"], post.get("tenant", "default"), post.get("revision", 0)

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self._failed.append(str(error))
                return
            self._accepted += 1
            self._keep(Sent(message.topic(), message.partition(), message.offset(), *facts))

        return delivered
