"""Who is woken by which event, and that nobody is kept who does not wait any more."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from sluicegate.pipeline.client.client import WaitingCallers
from sluicegate.pipeline.client.errors import ClientError, DeadLetteredError
from sluicegate.schemas import DeadLetter, Post, Verdict, encode
from unit.pipeline.client_fakes import verdict_on

POST = Post(id="a", text="one text")


def letter(payload: bytes) -> DeadLetter:
    return DeadLetter.model_validate(
        {
            "dead_letter_id": "0e27cd26-6cc4-519e-8d8d-55db97a9b78f",
            "code": "oversize",
            "detail": "9 bytes; the limit is 8",
            "origin": {"topic": "posts", "partition": 0, "offset": 0},
            "payload": "",
            "payload_bytes": len(payload),
            "payload_hash": f"sha256:{hashlib.sha256(payload).hexdigest()}",
            "rejected_at": "2026-03-01T08:30:01Z",
        }
    )


async def test_the_verdict_on_a_post_wakes_everybody_who_waits_for_it() -> None:
    waiting = WaitingCallers()
    with waiting.expect(POST) as first, waiting.expect(POST) as second:
        assert len(waiting) == 2
        assert waiting.wants(b"a")
        waiting.answer(verdict_on(POST))
        assert await first == await second == verdict_on(POST)
    assert len(waiting) == 0
    assert not waiting.wants(b"a")


@pytest.mark.parametrize(
    "other",
    [
        Post(id="a", text="another text"),
        Post(id="a", text="one text", revision=1),
        Post(id="a", text="one text", tenant="other"),
        Post(id="a", text="one text", kind="prompt"),
        Post(id="b", text="one text"),
    ],
)
async def test_a_verdict_on_anything_else_wakes_nobody(other: Post) -> None:
    waiting = WaitingCallers()
    with waiting.expect(POST) as answer:
        waiting.answer(verdict_on(other))
        assert not answer.done()
        waiting.answer(verdict_on(POST))
        assert answer.done()


async def test_a_repeated_verdict_changes_nothing() -> None:
    waiting = WaitingCallers()
    with waiting.expect(POST) as answer:
        waiting.answer(verdict_on(POST, at=1))
        waiting.answer(verdict_on(POST, at=2))
        waiting.bury(b"a", letter(encode(POST)))
        waiting.fail(lambda: ClientError("too late"))
        found = await answer
    assert isinstance(found, Verdict)
    assert found.judged_at.second == 1
    waiting.answer(verdict_on(POST))  # and one after everybody has left


async def test_a_dead_letter_answers_with_its_reason() -> None:
    waiting = WaitingCallers()
    with waiting.expect(POST) as answer:
        waiting.bury(b"b", letter(encode(POST)))
        waiting.bury(b"a", letter(b'{"id": "a"}'))
        assert not answer.done(), "another record with the same key is another post"
        waiting.bury(b"a", letter(encode(POST)))
        error = await answer
    assert isinstance(error, DeadLetteredError)
    assert (error.post_id, error.code) == ("a", "oversize")
    assert "one text" not in str(error)


async def test_a_fault_answers_everybody_with_an_error_of_their_own() -> None:
    waiting = WaitingCallers()
    with waiting.expect(POST) as first, waiting.expect(Post(id="b", text="b")) as second:
        waiting.fail(lambda: ClientError("gone"))
        assert await first is not await second


@pytest.mark.parametrize("ending", ["cancel", "error", "answer"])
async def test_nobody_is_kept_however_the_wait_ends(ending: str) -> None:
    waiting = WaitingCallers()

    async def call() -> None:
        with waiting.expect(POST) as answer:
            if ending == "error":
                raise ValueError
            await answer

    callers = [asyncio.create_task(call()) for _ in range(20)]
    await asyncio.sleep(0)
    if ending == "cancel":
        for caller in callers:
            caller.cancel()
    elif ending == "answer":
        assert len(waiting) == 20
        waiting.answer(verdict_on(POST))
    await asyncio.gather(*callers, return_exceptions=True)
    assert len(waiting) == 0
    assert not waiting.wants(b"a")
