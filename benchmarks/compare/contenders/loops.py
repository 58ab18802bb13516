"""Bare aiokafka loops: one post per call, generate-always, the floor of CPU time, and one that does nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer

from compare.contenders.floor import Floor
from compare.contenders.plainly import Counting, Judge, Sink, Task, write_line
from compare.contenders.whole_answers import WholeAnswers
from compare.plan import AIOKAFKA_EMPTY, BARE, BARE_PARTS, FLOOR, FLOOR_FOLDS, GENERATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_AT_ONCE = 500
_LINGER_S = 0.01
_COUNT_EVERY = 250


def consumer(task: Task) -> Any:
    """A member of a group, as aiokafka makes it; it commits by itself."""
    return AIOKafkaConsumer(
        task.posts,
        bootstrap_servers=task.bootstrap,
        group_id=task.group,
        auto_offset_reset="earliest",
    )


async def bare(task: Task, records: Any) -> None:
    """One post per call, one call at a time; nobody waits for the brokers."""
    judge, sink = Judge(task, task.open()), Sink(task.bootstrap, task.verdicts)
    async with judge.backend.engine:
        async for record in records:
            (verdict,) = await judge.judge([judge.decode(record.value)])
            await sink.send_later(record.key, verdict)


async def generate(task: Task, records: Any) -> None:
    """Whole answers, with as many posts at once as saturate the engine."""
    backend = task.open()
    judge, sink, whole = Judge(task, backend), Sink(task.bootstrap, task.verdicts), WholeAnswers(backend)
    saturating = backend.engine.info.saturating_prompts
    # llama.cpp's server takes one prompt a request: twice as many requests as it has slots, and it never waits.
    size, in_flight = (saturating, 4) if task.backend == "fake" else (1, 2 * saturating)
    counting = Counting(task.counts, saturating) if task.backend != "fake" else None
    waiting: asyncio.Queue[Any] = asyncio.Queue(2 * size * in_flight)

    async def work() -> None:
        while True:
            batch = await _collect(waiting, size)
            posts = [judge.decode(record.value) for record in batch]
            if counting is None:
                found = await whole.ask(posts)
            else:
                with counting.work(len(posts)):
                    found = await whole.ask(posts)
                counting.tell()
            verdicts = [judge.encoded(post, one) for post, one in zip(posts, found, strict=True)]
            await sink.send([(record.key, one) for record, one in zip(batch, verdicts, strict=True)])

    async def read() -> None:
        async for record in records:
            await waiting.put(record)

    async with backend.engine, asyncio.TaskGroup() as tasks:
        await whole.open()
        for loop in [read()] + [work() for _ in range(in_flight)]:
            tasks.create_task(loop)


async def _collect(waiting: asyncio.Queue[Any], size: int) -> list[Any]:
    batch = [await waiting.get()]
    try:
        async with asyncio.timeout(_LINGER_S):
            while len(batch) < size:
                batch.append(await waiting.get())
    except TimeoutError:
        pass
    return batch


async def floor(task: Task, records: Any) -> None:
    """The floor of CPU time; no engine is asked."""
    work, sink = Floor(task.open(), folds=task.system == FLOOR_FOLDS), Sink(task.bootstrap, task.verdicts)
    async for batch in _batches(records):
        verdicts = work.verdicts([record.value for record in batch])
        await sink.send([(record.key, one) for record, one in zip(batch, verdicts, strict=True)])


async def _batches(records: Any) -> AsyncIterator[list[Any]]:
    while True:
        found = await records.getmany(timeout_ms=200, max_records=_AT_ONCE)
        if batch := [record for part in found.values() for record in part]:
            yield batch


async def empty(task: Task, records: Any) -> None:
    """Reads, and tells how far it is."""
    seen = 0
    async for _record in records:
        seen += 1
        if seen % _COUNT_EVERY == 0:
            write_line(task.counts, {"at_s": time.time(), "posts": seen, "cpu_s": time.process_time()})


_LOOPS = {
    BARE: bare,
    BARE_PARTS: bare,
    GENERATE: generate,
    FLOOR: floor,
    FLOOR_FOLDS: floor,
    AIOKAFKA_EMPTY: empty,
}


async def main() -> None:
    """Run the loop that the task names, until killed."""
    task = Task.read()
    records = consumer(task)
    await records.start()
    await _LOOPS[task.system](task, records)


if __name__ == "__main__":
    asyncio.run(main())
