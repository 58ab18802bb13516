"""The check of the simulation: the real flow, with the depth as it was and as it is found, in turns.

    PYTHONPATH=benchmarks:tests python -m in_flight.real [--engine fake|llama_cpp] [--posts 1500] [--rounds 2]

Each round carries posts that all stand there (busy share and posts a second) and, with the fake engine, posts that
come at 70 % of the rate that had (p99). In memory: no broker is in it. With the fake engine time is virtual, so
that the flow's own work takes none, on any machine; the CPU model computes in real time.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING, Any

import orjson

from in_flight.worker import SPREAD
from shared.report import options
from sluicegate.engines.backends import Backend, EngineChoice, open_backend
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import CATEGORIES, MadeVerdict
from unit.pipeline.fakes import MemoryDelivery, MemoryOutlet, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sluicegate.pipeline.records import Delivery

WAYS: dict[str, dict[str, Any]] = {"before": {"in_flight": 3, "max_age_ms": 10}, "found": {}}
SHARE = 0.7


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when there is nothing to do, and then at once."""

    _now = 0.0

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Here and now: a thread would be overtaken by virtual time."""
        del executor
        done = self.create_future()
        done.set_result(func(*args))
        return done

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class LoopClock(Clock):
    """Reads the loop's time."""

    def monotonic(self) -> float:
        """As the loop has it."""
        return asyncio.get_running_loop().time()


class TimedOutlet(MemoryOutlet):
    """Notes when the verdict on each post left, by its id. A post is acknowledged later, behind all before it in its partition."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, float] = {}

    async def publish(self, records: Sequence[Record]) -> None:
        now = asyncio.get_running_loop().time()
        events = [record.event for record in records if isinstance(record, Record)]
        self.left |= {event.post_id: now for event in events if isinstance(event, MadeVerdict)}


def texts(count: int, seed: int) -> list[bytes]:
    """Posts of different length, each text once."""
    rng = random.Random(seed)  # noqa: S311 - lengths
    return [
        orjson.dumps(
            {"id": f"p{number}", "text": f"{number} " + "word " * round(rng.lognormvariate(3.5, SPREAD))}
        )
        for number in range(count)
    ]


async def carried(
    micro_batch: dict[str, Any], posts: Sequence[bytes], backend: Backend, per_s: float | None
) -> dict[str, float]:
    """One run; all at once without a rate."""
    settings = Settings(micro_batch=micro_batch, cache={"entries": 0})
    instruments = Instruments.for_engine(backend.engine.info.saturating_prompts, LoopClock())
    window = Window(
        posts=settings.window.posts, size_bytes=settings.window.bytes, clock=instruments.clock.monotonic
    )
    policy = Policy.load(None)
    outlet = TimedOutlet()
    flow = Flow(settings, {None: backend}, lambda: policy, window, outlet, instruments)
    arrived: dict[str, float] = {}
    rng = random.Random(7)  # noqa: S311 - arrivals

    async def source() -> AsyncIterator[Delivery]:
        at = begun
        for offset, post in enumerate(posts):
            if per_s is not None:
                at += rng.expovariate(per_s)
                await asyncio.sleep(max(0.0, at - instruments.clock.monotonic()))
            arrived[orjson.loads(post)["id"]] = at
            yield MemoryDelivery(offset, post)

    async with backend.engine:
        begun = instruments.clock.monotonic()
        await flow.run(singly(source()))
        wall = instruments.clock.monotonic() - begun
    spent = sorted(outlet.left[post] - at for post, at in arrived.items())
    return {
        "busy": round(instruments.busy.busy_s() / wall, 3),
        "posts_per_s": round(len(posts) / wall, 1),
        "p50_ms": round(spent[len(spent) // 2] * 1000),
        "p99_ms": round(spent[int(len(spent) * 0.99)] * 1000),
    }


def fake_runs(count: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Both ways with the fake engine as an H100, in virtual time."""
    posts, profile, rate = texts(count, seed), FakeProfile.h100(), 0.0
    found: dict[str, dict[str, dict[str, float]]] = {}

    def run(micro_batch: dict[str, Any], per_s: float | None) -> dict[str, float]:
        backend = Backend(FakeEngine(profile), fake_prompter(profile), CATEGORIES)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(carried(micro_batch, posts, backend, per_s))

    for way, micro_batch in WAYS.items():
        full = run(micro_batch, None)
        rate = rate or full["posts_per_s"]
        found[way] = {"saturation": full, "70 %": run(micro_batch, SHARE * rate)}
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--engine", choices=("fake", "llama_cpp"), default="fake")
    parser.add_argument("--posts", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args(arguments)
    samples = list(sample_records())
    for number in range(given.rounds):
        if given.engine == "fake":
            print(json.dumps(fake_runs(given.posts, number)), flush=True)
            continue
        for way, micro_batch in WAYS.items():
            posts = samples[number * given.posts :][: given.posts]
            backend = open_backend(EngineChoice(backend="llama_cpp"))
            print(json.dumps({way: asyncio.run(carried(micro_batch, posts, backend, None))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
