"""What a shadow costs the live path: runs with and without one, in turn, on Apache Kafka with the fake engine.

    PYTHONPATH=benchmarks python -m candidate.price [--runs 5] [--posts 6000] [--rate 200]

Both share this machine. The shadow judges a twentieth of the posts with an engine that is far too slow for them, so that it
lags and sheds. The p99 is that from a post's timestamp to its verdict's, on the live topics. Linux; Java and Maven.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import KafkaSettings
from support.kafka import ApacheKafka
from support.shadow import EQUAL, ShadowLane
from support.workers import open_lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.workers import Lane

_SLOW = 0.5
"""Seconds of one step of the shadow's engine."""
_CHUNK_S = 0.1


def run(
    kafka: ApacheKafka, folder: Path, *, posts: int, rate: float, with_shadow: bool
) -> tuple[float, float]:
    """The p99 of the live path in milliseconds, and its posts/s."""
    folder.mkdir()
    with open_lane(kafka, folder, partitions=3) as lane:
        shadow_lane = ShadowLane(lane, kafka, EQUAL, share=0.05)
        shadow_lane.set_candidate(EQUAL, step_s=_SLOW)
        live = shadow_lane.start_live()
        if with_shadow:
            shadow_lane.start_shadow().wait_ready()
        live.wait_ready()
        size = round(rate * _CHUNK_S)
        began = time.monotonic()
        for number, chunk in enumerate(_chunks(posts, size)):
            time.sleep(max(0.0, began + number * _CHUNK_S - time.monotonic()))
            lane.send(chunk)
        lane.wait_answers(posts, within_s=300)
        return _p99_ms(lane), posts / (time.monotonic() - began)


def _chunks(posts: int, size: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, posts, size):
        yield [
            {"id": f"p{number}", "text": f"text {number}", "tenant": "forum"}
            for number in range(first, min(first + size, posts))
        ]


def _p99_ms(lane: Lane) -> float:
    kafka = KafkaSettings(bootstrap_servers=lane.bootstrap)
    came: dict[bytes | None, int] = {}
    took: list[int] = []
    for topics in ([lane.posts], list(lane.outputs.values())):
        with TopicReader(kafka, topics, start="beginning") as reader:
            for record in reader.read_all():
                if topics == [lane.posts]:
                    came[record.key] = record.timestamp_ms or 0
                else:
                    took.append((record.timestamp_ms or 0) - came[record.key])
    return statistics.quantiles(took, n=100)[98]


def main() -> None:
    """Print each pair of runs, and whether a shadow changes more than two runs without one differ."""
    parser = argparse.ArgumentParser(prog="candidate.price", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--posts", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=200.0)
    given = parser.parse_args()
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="sluicegate-price-") as temporary, ApacheKafka() as kafka:
        for number in range(2 * given.runs):
            # In turn, and the order changes: a machine that warms up, or gets busy, favours nobody.
            with_shadow = number % 4 in (1, 2)
            measured = run(
                kafka,
                Path(temporary) / str(number),
                posts=given.posts,
                rate=given.rate,
                with_shadow=with_shadow,
            )
            found[with_shadow].append(measured)
            print(
                f"{'with' if with_shadow else 'without'}: p99 {measured[0]:.0f} ms, {measured[1]:.1f} posts/s",
                flush=True,
            )
    lines = []
    for place, (name, unit) in enumerate((("p99", "ms"), ("throughput", "posts/s"))):
        without, beside = ([one[place] for one in found[key]] for key in (False, True))
        shift = statistics.median(beside) - statistics.median(without)
        spread = max(without) - min(without)
        word = "no more" if abs(shift) <= spread else "MORE"
        lines.append(
            f"{name} moved by {shift:+.1f} {unit}, {word} than runs without a shadow differ ({spread:.1f} {unit})"
        )
    print(f"shadow's price: {'; '.join(lines)}")


if __name__ == "__main__":
    main()
