"""The ledger of a long run: accounts for posts as they come out, a few bytes for each."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.collector import Sent

_ACTIONS = {"allow": 1, "review": 2, "block": 4}
_READ_S = 30.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the posts so far."""

    posts: int
    verdicts: int
    answered: int
    """Posts with at least one verdict or dead letter."""
    repeats_same_id: int
    repeats_other_id: int
    dead_letters: int
    lost: int
    """Accepted posts without an answer: until the run has settled, posts on their way."""
    wrong: int
    """Failures that became ``allow``, and posts with two actions."""


class Ledger:
    """Balances posts called ``<name>-<number>``, numbered from 0, one revision each, all judged.

    Safe for one thread that accepts and one that answers.
    """

    def __init__(self) -> None:
        self._accepted = bytearray()
        self._actions = bytearray()
        self._dead = bytearray()
        self._ids = array("Q")  # the first half of each post's first verdict id
        self._lock = threading.Lock()
        self._verdicts = self._same = self._other = self._dead_letters = self._open_failures = 0

    def accept(self, sent: Sent) -> None:
        """A broker accepted a post."""
        with self._lock:
            self._accepted[self._place((sent.post_id or "").encode())] = 1

    def answer(self, key: bytes, body: dict[str, Any]) -> None:
        """A record stands on an output topic."""
        with self._lock:
            place = self._place(key)
            if "dead_letter_id" in body:
                self._dead_letters += 1
                self._dead[place] = 1
                return
            self._verdicts += 1
            self._open_failures += body["action"] == "allow" and body.get("failure") is not None
            half = UUID(body["verdict_id"]).int >> 64
            if not self._actions[place]:
                self._ids[place] = half
            elif self._ids[place] == half:
                self._same += 1
            else:
                self._other += 1
            self._actions[place] |= _ACTIONS[body["action"]]

    def totals(self) -> Totals:
        """The balance now."""
        with self._lock:
            pairs = zip(self._accepted, self._actions, self._dead, strict=True)
            return Totals(
                posts=sum(self._accepted),
                verdicts=self._verdicts,
                answered=sum(
                    bool(action or dead) for action, dead in zip(self._actions, self._dead, strict=True)
                ),
                repeats_same_id=self._same,
                repeats_other_id=self._other,
                dead_letters=self._dead_letters,
                lost=sum(accepted and not action and not dead for accepted, action, dead in pairs),
                wrong=self._open_failures + sum(action.bit_count() > 1 for action in self._actions),
            )

    def _place(self, post_id: bytes) -> int:
        number = int(post_id.rpartition(b"-")[2])
        if number >= len(self._accepted):
            more = number + 1 - len(self._accepted)
            for row in (self._accepted, self._actions, self._dead):
                row.extend(bytes(more))
            self._ids.extend([0] * more)
        return number


class LedgerReader:
    """Reads output topics into a ledger, from their beginning and as they grow, in a thread of its own."""

    def __init__(self, bootstrap: str, topics: Sequence[str], ledger: Ledger) -> None:
        self._topics = topics
        self._ledger = ledger
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "ledger",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> Self:
        found = self._consumer.list_topics(timeout=_READ_S).topics
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for topic in self._topics for number in found[topic].partitions]
        )
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def check(self) -> None:
        """Raise what ended the thread, if anything did.

        Raises:
            RuntimeError: Something did.
        """
        if self._fault is not None:
            raise RuntimeError("the output topics are no longer read") from self._fault

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                for message in self._consumer.consume(500, timeout=0.3):
                    if message.error():
                        raise KafkaException(message.error())
                    self._ledger.answer(message.key() or b"", orjson.loads(message.value()))
        except Exception as error:  # noqa: BLE001 - raised by check, in the thread that cares
            self._fault = error
