"""First figures: posts a second of one worker, and end to end against the engine alone.

    python benchmarks/throughput worker      # fake engine at zero latency, Apache Kafka
    python benchmarks/throughput cpu         # CPU model: end to end / engine alone, same posts
    python benchmarks/throughput flow        # CPU time of a post in the flow, in memory, with the fake engine

The first two need Java and Maven for Apache Kafka; they talk to loopback only and stop by themselves. Rates are
counted on the topics: verdicts between the first and the last `judged_at`. The third counts the CPU time of the process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
import time
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from shared.report import options
from sluicegate.engines.backends import Backend, EngineChoice, open_backend
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.engines.protocol import Prompt
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import CATEGORIES, Post, decode_post, encode
from support.kafka import ApacheKafka
from support.workers import open_lane
from unit.pipeline.fakes import MemoryDelivery, MemoryOutlet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


def rate(count: int, seconds: float) -> float:
    """Events a second, over the intervals between them."""
    return (count - 1) / seconds if count > 1 and seconds > 0 else 0.0


def worker(posts: int, *, settings: dict[str, str] | None = None) -> float:
    """Posts a second of one worker over posts that all stand on the topic before it starts."""
    bodies = [f"post number {number}: " + "word " * (number % 17) for number in range(posts)]
    return _run([{"id": f"p{number}", "text": body} for number, body in enumerate(bodies)], settings or {})


def _run(records: list[dict[str, object]], settings: dict[str, str]) -> float:
    with ApacheKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        print(f"Apache Kafka {kafka.version}, {len(records)} posts", flush=True)
        with open_lane(kafka, Path(folder), partitions=3) as lane:
            lane.send(records)
            started = time.monotonic()
            lane.start({"log.level": "warning", **settings})
            lane.wait_answers(len(records), within_s=900)
            print(f"all answered {time.monotonic() - started:.1f} s after the start", flush=True)
            stamps = sorted(datetime.fromisoformat(record.body["judged_at"]) for record in lane.read())
            return rate(len(stamps), (stamps[-1] - stamps[0]).total_seconds())


async def engine_alone(posts: list[Post], *, in_flight: int) -> float:
    """Posts a second of the CPU engine in a closed loop: score, and explain what is not a confident allow."""
    backend, policy = open_backend(EngineChoice(backend="llama_cpp")), Policy.load(None)
    prompts = [(post, prompt) for post in posts if isinstance(prompt := backend.prompter.build(post), Prompt)]
    async with backend.engine:
        queue = list(reversed(prompts))

        async def loop() -> None:
            while queue:
                post, prompt = queue.pop()
                (scored,) = await backend.engine.score([prompt], timeout_s=60)
                if policy.needs_explanation(post, scored.scores):  # type: ignore[union-attr]  # a failure ends the run
                    await backend.engine.explain([prompt], [scored.scores.severity], timeout_s=60)  # type: ignore[union-attr]  # see above

        started = time.monotonic()
        await asyncio.gather(*(loop() for _ in range(in_flight)))
        return len(prompts) / (time.monotonic() - started)


async def flow(posts: Sequence[bytes], *, chunk: int) -> dict[str, float]:
    """CPU time of each post between the source and the outlet, in microseconds: of all threads, and of the loop's."""
    profile, settings = FakeProfile(), Settings()
    backend = Backend(FakeEngine(profile), fake_prompter(profile), CATEGORIES)
    instruments = Instruments.for_engine(backend.engine.info.saturating_prompts)
    window = Window(
        posts=settings.window.posts, size_bytes=settings.window.bytes, clock=instruments.clock.monotonic
    )
    policy = Policy.load(None)
    path = Flow(settings, {None: backend}, lambda: policy, window, MemoryOutlet(), instruments)
    records = [MemoryDelivery(offset, post) for offset, post in enumerate(posts)]

    async def source() -> AsyncIterator[Sequence[MemoryDelivery]]:
        for first in range(0, len(records), chunk):
            yield records[first : first + chunk]
            await asyncio.sleep(0)

    gc.collect()
    gc.freeze()
    began, began_here = time.process_time(), time.thread_time()
    await path.run(source())
    spent, spent_here = time.process_time() - began, time.thread_time() - began_here
    return {
        "us": round(spent / len(posts) * 1e6, 1),
        "us_in_the_loop": round(spent_here / len(posts) * 1e6, 1),
    }


def distinct_posts(count: int) -> list[Post]:
    """Sample posts, each text once, so that no cache helps either side."""
    found = [post for raw in sample_records() if isinstance(post := decode_post(raw), Post)]
    by_text = {(post.text, post.kind, post.region, post.language): post for post in found}
    return list(by_text.values())[:count]


def main() -> None:
    """Measure what is asked and print it as JSON."""
    parser = options(__doc__)
    parser.add_argument("what", choices=["worker", "cpu", "flow"])
    parser.add_argument(
        "--posts", type=int, default=0, help="how many; default 30000, or 120 for cpu, 6000 for flow"
    )
    parser.add_argument("--chunk", type=int, default=256, help="records in a chunk of the flow's source")
    asked = parser.parse_args()
    if asked.what == "worker":
        print(json.dumps({"posts_per_s": round(worker(asked.posts or 30_000))}))
        return
    if asked.what == "flow":
        texts = distinct_posts(300)
        named = [
            encode(post.model_copy(update={"id": f"p{number}", "text": f"{post.text} {number}"}))
            for number, post in zip(range(asked.posts or 6000), cycle(texts), strict=False)
        ]
        print(json.dumps(asyncio.run(flow(named, chunk=asked.chunk))))
        return
    posts = distinct_posts(asked.posts or 120)
    alone = asyncio.run(engine_alone(posts, in_flight=8))
    records = [post.model_dump(mode="json", exclude_defaults=True) for post in posts]
    through = _run(records, {"engine.backend": "llama_cpp"})
    print(
        json.dumps(
            {
                "engine_alone": round(alone, 2),
                "end_to_end": round(through, 2),
                "ratio": round(through / alone, 3),
            }
        )
    )
