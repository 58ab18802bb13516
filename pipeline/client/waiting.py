"""Waiting: who waits for the verdict on which post. Decides whom an event wakes; does no I/O."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.client.errors import ClientError, DeadLetteredError
from sluicegate.schemas import DeadLetter, Post, Verdict, content_hash, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, eq=False)
class _Caller:
    """One caller; ``judged`` and ``payload_hash`` say which events are about its very post."""

    judged: tuple[str, int, str]
    payload_hash: str
    answer: asyncio.Future[Verdict | ClientError]


class Waiting:
    """The callers that wait, by record key. Only the event loop's thread may change it."""

    def __init__(self) -> None:
        self._callers: dict[bytes, list[_Caller]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._callers.values()))

    def wants(self, key: bytes | None) -> bool:
        """True if somebody waits for a record with this key. Any thread may ask."""
        return key in self._callers

    @contextmanager
    def expect(self, post: Post) -> Iterator[asyncio.Future[Verdict | ClientError]]:
        """Wait for the verdict on a post; the caller is forgotten on the way out, whatever happens.

        The future's result is the verdict, or what to raise instead. It may be cancelled. An
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

    def answer(self, verdict: Verdict) -> None:
        """Wake the caller that waits for this verdict. One that comes again wakes no caller."""
        judged = verdict.tenant, verdict.revision, verdict.content_hash
        for caller in self._callers.get(verdict.post_id.encode(), ()):
            if caller.judged == judged and not caller.answer.done():
                caller.answer.set_result(verdict)

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
