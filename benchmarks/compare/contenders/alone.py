"""The engine alone: the prompts that the pipeline would ask, from memory, in a closed loop."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

from compare.contenders.plainly import Counting, Judge, Task, write_line
from compare.plan import SWEEP
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.settings.sections import LimitSettings
from sluicegate.pipeline.shortcuts.cache import cache_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.backends import Backend
    from sluicegate.schemas import Post

CONCURRENCY = {"fake": (1, 2, 3, 4, 6), "llama_cpp": (1, 2, 4, 8)}
"""What is tried: calls of as many prompts as saturate the fake engine; single prompts for the CPU model."""

_CALL_S = 60.0
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """A distinct prompt and the posts whose answers wait for it."""

    prompt: Prompt
    post: Post
    posts: tuple[int, ...]


def asked_of(judge: Judge, values: Sequence[bytes]) -> tuple[list[Asked], dict[int, int]]:
    """Every prompt once, in the order of the stream, and how many prompts each post waits for."""
    limits, segmenter = (
        LimitSettings(),
        Segmenter(judge.backend.prompter, folds=True, passages=judge.backend.passages),
    )
    length = LengthLimits(limits.post_tokens, limits.segments)
    posts = [judge.decode(value) for value in values]
    prompts: dict[bytes, tuple[Prompt, Post]] = {}
    waiting: defaultdict[bytes, list[int]] = defaultdict(list)
    parts_of: dict[int, int] = {}
    for first in range(0, len(posts), _CHUNK):
        chunk = posts[first : first + _CHUNK]
        built = segmenter.build_many(chunk, [length] * len(chunk))
        for number, parts in enumerate(built, first):
            found = parts.parts if isinstance(parts, Parts) else ()
            keys = {cache_key(part.prompt, judge.backend.engine.info): part.prompt for part in found}
            parts_of[number] = len(keys)
            for key, prompt in keys.items():
                prompts.setdefault(key, (prompt, posts[number]))
                waiting[key].append(number)
    return [Asked(*pair, tuple(waiting[key])) for key, pair in prompts.items()], parts_of


class ClosedLoop:
    """So many calls at once, each followed by the next as soon as it is answered."""

    def __init__(self, task: Task, judge: Judge, asked: Sequence[Asked], parts_of: dict[int, int]) -> None:
        self._task = task
        self._judge = judge
        self._backend: Backend = judge.backend
        self._asked = asked
        self._parts_of = parts_of
        saturating = self._backend.engine.info.saturating_prompts
        self._size = saturating if task.backend == "fake" else 1
        self._counting = Counting(task.counts, saturating) if task.backend != "fake" else None

    async def run(self, in_flight: int, *, told: bool) -> float:
        """Answer all posts; how many a second."""
        left, answered, reached = dict(self._parts_of), 0, 0
        ready: list[int] = []  # a copy counts at its own place in the stream, not with the first one
        batches = iter(
            [self._asked[first : first + self._size] for first in range(0, len(self._asked), self._size)]
        )
        began = time.monotonic()

        async def calls() -> None:
            nonlocal answered, reached
            for batch in batches:
                await self._call(batch)
                for number in (number for one in batch for number in one.posts):
                    left[number] -= 1
                    if not left[number]:
                        heappush(ready, number)
                reached = max(reached, batch[-1].posts[0])
                while ready and ready[0] <= reached:
                    heappop(ready)
                    answered += 1
                if told:
                    tell(answered)

        def tell(posts: int) -> None:
            write_line(f"{self._task.counts}.posts", {"at_s": time.time(), "posts": posts})

        await asyncio.gather(*(calls() for _ in range(in_flight)))
        answered += len(ready)  # copies behind the last new text
        if told:
            tell(answered)
        return answered / (time.monotonic() - began)

    async def _call(self, batch: Sequence[Asked]) -> None:
        if self._counting is None:
            await self._ask(batch)
            return
        with self._counting.work(len(batch)):
            await self._ask(batch)
        self._counting.tell()

    async def _ask(self, batch: Sequence[Asked]) -> None:
        engine, judge = self._backend.engine, self._judge
        scored = await engine.score([one.prompt for one in batch], timeout_s=_CALL_S)
        wanted = [
            (one.prompt, severity, judge.wants_text(one.post, found))
            for one, found in zip(batch, scored, strict=True)
            if isinstance(found, Scored)
            and (severity := judge.policy.explain_as(one.post, judge.calibrated(one.post, found)))
        ]
        if wanted:
            prompts, severities, texts = zip(*wanted, strict=True)
            await engine.explain(prompts, severities, timeout_s=_CALL_S, texts=texts)


async def main() -> None:
    """Find the best concurrency, or measure at the one given."""
    task = Task.read()
    judge = Judge(task, task.open())
    values = await asyncio.to_thread(Path(task.values).read_bytes)
    loop = ClosedLoop(task, judge, *asked_of(judge, values.splitlines()))
    async with judge.backend.engine:
        if task.system == SWEEP:
            for in_flight in CONCURRENCY[task.backend]:
                per_s = await loop.run(in_flight, told=False)
                write_line(f"{task.counts}.sweep", {"in_flight": in_flight, "per_s": per_s})
        else:
            await loop.run(task.in_flight, told=True)


if __name__ == "__main__":
    asyncio.run(main())
