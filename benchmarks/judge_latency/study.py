"""How long `client.judge` takes: publish, judge, read the verdict. Prints JSON.

    python benchmarks/judge_latency                       # Apache Kafka, one worker, fake engine at zero latency
    python benchmarks/judge_latency --profile h100        # the fake engine simulates an accelerator
    python benchmarks/judge_latency --bootstrap HOST:PORT # your own broker and workers

Callers run in a closed loop: each asks for its next verdict when it has the last one. Without
--bootstrap it needs Java and Maven, talks to loopback only, and stops everything by itself.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from shared.report import options
from sluicegate.client import Client, KafkaSettings, Post, TopicSettings
from support.kafka import ApacheKafka
from support.workers import open_lane


def report(latencies_s: list[float], elapsed_s: float) -> dict[str, float]:
    """Percentiles in milliseconds, and the rate."""
    cuts = statistics.quantiles(latencies_s, n=100, method="inclusive")
    return {
        "calls": len(latencies_s),
        "calls_per_s": round(len(latencies_s) / elapsed_s, 1),
        **{f"p{percent}_ms": round(cuts[percent - 1] * 1000, 1) for percent in (50, 95, 99)},
        "most_ms": round(max(latencies_s) * 1000, 1),
    }


async def measure(
    kafka: KafkaSettings, topics: TopicSettings, *, callers: int, calls: int, warm_up: int
) -> dict[str, float]:
    """Latencies of ``calls`` calls by so many callers, after a warm-up that does not count."""
    run = uuid4().hex[:8]

    async def loop(client: Client, numbers: list[int], latencies_s: list[float]) -> None:
        for number in numbers:
            post = Post(
                id=f"{run}/{number}", text=f"post number {number} of run {run}: " + "word " * (number % 50)
            )
            began = time.perf_counter()
            await client.judge(post, timeout_s=120)
            latencies_s.append(time.perf_counter() - began)

    async def all_callers(client: Client, numbers: range) -> list[float]:
        latencies_s: list[float] = []
        await asyncio.gather(
            *(loop(client, list(numbers[first::callers]), latencies_s) for first in range(callers))
        )
        return latencies_s

    async with Client(kafka, topics) as client:
        await all_callers(client, range(warm_up))
        began = time.perf_counter()
        latencies_s = await all_callers(client, range(warm_up, warm_up + calls))
        return report(latencies_s, time.perf_counter() - began)


def main() -> None:
    """Measure what is asked and print it as JSON."""
    parser = options(__doc__)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--warm-up", type=int, default=500, help="calls before those that count")
    parser.add_argument(
        "--profile", choices=["instant", "h100"], default="instant", help="of the fake engine"
    )
    parser.add_argument("--bootstrap", help="brokers; topics come from SLUICEGATE_TOPICS__…")
    asked = parser.parse_args()
    how = {"callers": asked.callers, "calls": asked.calls, "warm_up": asked.warm_up}
    if asked.bootstrap:
        kafka = KafkaSettings(bootstrap_servers=asked.bootstrap)
        result = asyncio.run(measure(kafka, TopicSettings(), **how))
    else:
        with (
            ApacheKafka() as broker,
            tempfile.TemporaryDirectory() as folder,
            open_lane(broker, Path(folder), partitions=3) as lane,
        ):
            if asked.profile == "h100":
                lane.set_fake(preset="h100")
            lane.start({"log.level": "warning"}).wait_ready()
            topics = TopicSettings(posts=lane.posts, control=f"{lane.prefix}.control", **lane.outputs)
            kafka = KafkaSettings(bootstrap_servers=lane.bootstrap)
            result = asyncio.run(measure(kafka, topics, **how))
    print(json.dumps({"callers": asked.callers, **result}))
