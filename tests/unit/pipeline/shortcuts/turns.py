"""A flow that reuses near duplicates, fed one post after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluicegate.schemas import Verdict
    from unit.pipeline.fakes import MemoryDelivery

ON = {"cache": {"near_duplicates": {"enabled": True}}}


def bench(**fields: Any) -> Bench:
    return Bench(**({"tree": ON} | fields))


class Turns:
    """A flow at work; ends well, or by ``kill``."""

    def __init__(self, stand: Bench) -> None:
        self._stand = stand
        self._posts: asyncio.Queue[tuple[dict[str, Any], ...] | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._stand.flow.run(self._source()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._posts.put_nowait(None)
        async with asyncio.timeout(20):
            await self._running

    async def _source(self) -> AsyncIterator[list[MemoryDelivery]]:
        offset = 0
        while (posts := await self._posts.get()) is not None:
            yield [self._stand.delivery(post, offset + place) for place, post in enumerate(posts)]
            offset += len(posts)

    async def send(self, *posts: dict[str, Any]) -> None:
        """Hand them over in one chunk; returns when all are in the window."""
        self._posts.put_nowait(posts)
        taken = self._stand.metric("records_taken_total") + len(posts)
        while self._stand.metric("records_taken_total") < taken:
            await asyncio.sleep(0)

    async def judge(self, *posts: dict[str, Any]) -> list[Verdict]:
        """Each post's verdict; the next one comes when the one before it is answered."""
        verdicts = []
        for post in posts:
            answered = len(self._stand.outlet.records)
            await self.send(post)
            async with asyncio.timeout(10):
                while len(self._stand.outlet.records) == answered:
                    await asyncio.sleep(0)
            verdicts.append(self._stand.outlet.verdict(post["id"]))
        return verdicts

    async def kill(self) -> None:
        """End it where it is."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._running = asyncio.create_task(asyncio.sleep(0))


async def in_turn(stand: Bench, *posts: dict[str, Any]) -> list[Verdict]:
    """Each post's verdict, one after the other; the flow ends with them."""
    async with Turns(stand) as turns:
        return await turns.judge(*posts)
