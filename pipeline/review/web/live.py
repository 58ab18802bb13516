"""Live counts: what waits, told to open pages by server-sent events. A page without a script shows it once."""

import asyncio
import time
from collections.abc import AsyncGenerator

import orjson
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.sessions import Sessions

LISTENERS_MOST = 200
_EACH_S = 3.0
_LIFE_S = 600.0  # a browser comes again by itself; what was forgotten in between ends
_LATER = "retry: 60000\n\n"
_ENDED = "event: ended\ndata:\n\n"
_NOTHING_NEW = ":\n\n"  # a comment: it finds out that nobody is there any more


class LiveCounts:
    """Streams of counts. One event loop has it.

    Args:
        desk: What is counted.
        sessions: A stream ends with its session.
        each_s: Seconds between two looks.
    """

    def __init__(self, desk: ReviewDesk, sessions: Sessions, *, each_s: float = _EACH_S) -> None:
        self._desk = desk
        self._sessions = sessions
        self._each_s = each_s
        self._over = asyncio.Event()
        self.listeners = 0

    def close(self) -> None:
        """End every stream at its next step: a server that stops waits for them."""
        self._over.set()

    async def stream(self, request: Request) -> AsyncGenerator[str, None]:
        """Counts of what waits for who asks: at once, and whenever they change."""
        if self.listeners >= LISTENERS_MOST:
            yield _LATER
            return
        self.listeners += 1
        try:
            told, end = None, time.monotonic() + _LIFE_S
            while not self._over.is_set() and time.monotonic() < end:
                counts = await run_in_threadpool(self._counts, request)
                if counts is None:
                    yield _ENDED
                    return
                yield _NOTHING_NEW if counts == told else f"data: {counts}\n\n"
                told = counts
                await self._pause()
        finally:
            self.listeners -= 1

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._each_s):
                await self._over.wait()
        except TimeoutError:
            return

    def _counts(self, request: Request) -> str | None:
        """As JSON; None if nobody is logged in any more."""
        session = self._sessions.find(request)
        if session is None or not session.may(Right.VIEW):
            return None
        counted = self._desk.figures.current()
        states = ("open", "adjudication") if session.reviewer.leads else ("open",)
        return orjson.dumps(
            {state: counted.open(state, session.reviewer.tenants) for state in states}
        ).decode()


def add_live(app: FastAPI, live: LiveCounts) -> None:
    """Add the stream of counts.

    Args:
        app: To it.
        live: Makes them.
    """

    @app.get("/queue/counts")
    async def counts(request: Request) -> Response:
        """A stream of counts."""
        # NGINX would gather the stream, and show nothing for minutes.
        return StreamingResponse(
            live.stream(request), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )
