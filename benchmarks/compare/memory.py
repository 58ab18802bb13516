"""Memory of one worker over many posts: an engine that takes no time, and a backlog that stays small.

Topics forget what is a minute old, and posts are sent as others are answered: the disk stays bounded.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING, Any

from compare.cluster import PARTITIONS, PATIENT, Answers, Lane, fill
from compare.data import even_place
from compare.engines import INSTANT
from compare.process import check_worker, wait_ready, worker
from compare.watch import lines
from faults.watch import MEMORY_LIMIT_BYTES, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.kafka import ApacheKafka

BROKER = PATIENT | {"log.retention.check.interval.ms": "10000", "log.segment.delete.delay.ms": "1000"}
"""Broker properties of the run."""

_TOPIC = {"retention.ms": "60000", "segment.ms": "30000", "segment.bytes": str(16 * 2**20)}
_AT_ONCE, _BACKLOG = 5_000, 15_000
_SAMPLE_S, _SAY_S, _STILL_S = 2.0, 15.0, 120.0
_WARM_UP = 0.2
"""Of the posts: until then caches fill."""


@dataclass(frozen=True, slots=True)
class Look:
    """A worker at one moment."""

    at_s: float
    answered: int
    rss_bytes: int
    descriptors: int
    objects: int | None = None
    """That the garbage collector follows; None where none were counted since the last look."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A figure over the posts, after the warm-up."""

    first: float
    last: float
    per_million: float
    """By the straight line through all looks."""


def slope(points: Sequence[tuple[int, float]], posts: int) -> Slope | None:
    """How a figure grew after the warm-up; None of fewer than three points.

    Args:
        points: Posts answered, and the figure then.
        posts: Of the whole run.
    """
    kept = [point for point in points if point[0] >= _WARM_UP * posts]
    if len({answered for answered, _ in kept}) < 3:
        return None
    found = linear_regression([answered for answered, _ in kept], [float(value) for _, value in kept])
    return Slope(kept[0][1], kept[-1][1], found.slope * 1_000_000)


def measure(
    kafka: ApacheKafka, folder: Path, values: Sequence[bytes], posts: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Send posts as they are answered, and look at the worker; what was seen.

    Raises:
        RuntimeError: The worker ended, stood still, or grew beyond any reason.
    """
    looks: list[Look] = []
    objects = folder / "objects.jsonl"
    lane = Lane(kafka, "memory-posts", own_posts=True)
    lane.open(_TOPIC)
    with Answers(lane) as answers, ExitStack() as stack:
        ours = worker(
            lane,
            folder / "worker",
            INSTANT,
            folder / "counts.jsonl",
            module="compare.counted_worker",
            more={"COMPARE_OBJECTS": str(objects)},
        )
        stack.callback(ours.kill)
        wait_ready(ours)
        began = moved_at = said_at = time.monotonic()
        sent = answered = 0
        while answered < posts:
            check_worker(ours)
            if sent < posts and sent - answered < _BACKLOG:
                chunk = _chunk(values, sent, min(_AT_ONCE, posts - sent))
                fill(kafka.bootstrap, lane.posts, chunk, even_place, PARTITIONS)
                sent += len(chunk)
            found, now = answers.count(), time.monotonic()
            if found > answered:
                answered, moved_at = found, now
            elif now - moved_at > _STILL_S:
                raise RuntimeError(
                    f"nothing was answered for {_STILL_S:.0f} s; {answered:,} of {sent:,} were"
                )
            if not looks or now - began - looks[-1].at_s >= _SAMPLE_S:
                looks.append(_look(ours.pid, now - began, answered, objects))
                if looks[-1].rss_bytes > MEMORY_LIMIT_BYTES:
                    raise RuntimeError(f"the worker is larger than {MEMORY_LIMIT_BYTES >> 20} MiB")
            if now - said_at >= _SAY_S:
                said_at = now
                rate = answered / (now - began)
                left = (posts - answered) / rate / 60 if rate else 0
                say(
                    f"{answered:,} of {posts:,} posts, {rate:,.0f} a second, {looks[-1].rss_bytes / 2**20:.0f} MiB; {left:.0f} min left"
                )
            time.sleep(0.1)
    lane.close()
    return document(looks, posts)


def document(looks: Sequence[Look], posts: int) -> dict[str, Any]:
    """What was seen, as data."""
    series: dict[str, list[tuple[int, float]]] = {
        "rss_bytes": [(one.answered, one.rss_bytes) for one in looks],
        "descriptors": [(one.answered, one.descriptors) for one in looks],
        "objects": [(one.answered, one.objects) for one in looks if one.objects is not None],
    }
    grown = {name: slope(points, posts) for name, points in series.items()}
    return {
        "posts": posts,
        "seconds": round(looks[-1].at_s) if looks else 0,
        "grown": {name: found and asdict(found) for name, found in grown.items()},
        "looks": [asdict(one) for one in looks],
    }


def page(found: dict[str, Any]) -> str:
    """The same for people."""
    rows = [
        "| | after the warm-up | at the end | per million posts |",
        "|---|---:|---:|---:|",
    ]
    for name, said, unit in (
        ("rss_bytes", "memory (RSS), MiB", 2**20),
        ("objects", "objects that the garbage collector follows", 1),
        ("descriptors", "file descriptors", 1),
    ):
        if grown := found["grown"][name]:
            cells = [f"{grown[one] / unit:,.1f}" for one in ("first", "last", "per_million")]
            rows.append(f"| {said} | {cells[0]} | {cells[1]} | {float(cells[2].replace(',', '')):+,.1f} |")
        else:
            rows.append(f"| {said} | – | – | – |")
    return "\n".join(
        [
            (
                f"{found['posts']:,} posts in {found['seconds']:,} s through one worker with a fake engine that takes no time; all texts differ. "
                f"The first {_WARM_UP:.0%} of the posts are the warm-up, in which the cache fills."
            ),
            "",
            *rows,
        ]
    )


def _chunk(values: Sequence[bytes], first: int, count: int) -> list[bytes]:
    """Posts by their numbers in the whole run, each with a text of its own."""
    found = []
    for number in range(first, first + count):
        post = json.loads(values[number % len(values)])
        post["id"], post["text"] = f"m{number}", f"{post['text']} ({number})"
        found.append(json.dumps(post, ensure_ascii=False).encode())
    return found


def _look(pid: int, at_s: float, answered: int, objects: Path) -> Look:
    found = sample(pid, at_s)
    if found is None:
        raise RuntimeError("the worker has gone")
    told = lines(objects)
    return Look(at_s, answered, found.rss_bytes, found.descriptors, told[-1]["objects"] if told else None)
