"""Faust as its documentation has it: `take(n, within)`, one batch after the other; and an agent that does nothing."""

from __future__ import annotations

import asyncio
import tempfile
import time
from typing import Any

import faust

from compare.contenders.plainly import Judge, Sink, Task, write_line
from compare.plan import FAUST_EMPTY

TAKE, WITHIN_S = 64, 0.01
_COUNT_EVERY = 250


def make_app(task: Task) -> Any:
    """An app without topics of its own."""
    return faust.App(
        task.group,
        broker=f"aiokafka://{task.bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="compare-faust-"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
    )


async def taking(task: Task) -> None:
    """Judge batches."""
    app, backend = make_app(task), task.open()
    judge, sink = Judge(task, backend), Sink(task.bootstrap, task.verdicts)
    posts = app.topic(task.posts, key_serializer="raw", value_serializer="raw", value_type=bytes)

    async def batches(stream: Any) -> None:
        async for values in stream.take(TAKE, within=WITHIN_S):
            decoded = [judge.decode(value) for value in values]
            verdicts = await judge.judge(decoded)
            await sink.send([(post.id.encode(), one) for post, one in zip(decoded, verdicts, strict=True)])

    app.agent(posts)(batches)
    async with backend.engine:
        await _run(app)


async def nothing(task: Task) -> None:
    """Acknowledge every event, and tell how far it is."""
    app, seen = make_app(task), 0
    posts = app.topic(task.posts, key_serializer="raw", value_serializer="raw", value_type=bytes)

    async def events(stream: Any) -> None:
        nonlocal seen
        async for event in stream.noack().events():
            event.ack()
            seen += 1
            if seen % _COUNT_EVERY == 0:
                write_line(task.counts, {"at_s": time.time(), "posts": seen, "cpu_s": time.process_time()})

    app.agent(posts)(events)
    await _run(app)


async def _run(app: Any) -> None:
    app.finalize()
    await app.start()
    await app._crashed.wait()  # noqa: SLF001 - no public way to await a crash
    raise RuntimeError("the agent failed") from app.crash_reason


if __name__ == "__main__":
    asked = Task.read()
    asyncio.run((nothing if asked.system == FAUST_EMPTY else taking)(asked))
