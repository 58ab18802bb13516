"""A producer a hundred times faster than the engine: the posts wait in Kafka, and nowhere else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario
from support.workers import until

if TYPE_CHECKING:
    import random

    from faults.load import Load
    from faults.stage import Stage
    from support.workers import WorkerProcess

# 32 posts in 2 s, and as long again to explain some of them: about ten a second.
SLOW = {"slow": {"delay_s": 2.0}}
SETTINGS = {"micro_batch.posts": "32", "micro_batch.in_flight": "1"}
FAST_PER_S = 1000.0
LARGE_BYTES = 200 * 1024
LARGE_PER_S = 60.0
_WINDOW_POSTS, _WINDOW_BYTES = 4096, 64 * 2**20  # the settings' defaults
_MOST_GROWTH = 0.2
_LOOK_S = 0.5
# What comes behind the window, prompts, Faust's buffer and the fetches, is full as well once memory stands still for so long.
_STILL_S, _STILL_GROWTH = 6.0, 0.02
_FILLS_S = 120.0
_LARGE_SETTLE_S = 900.0  # the worker itself cuts and folds them: a busy machine takes its time


@scenario(number=17, name="overload")
def overload(stage: Stage) -> None:
    """For a minute a thousand posts a second meet an engine that judges ten; then the engine is fast."""
    kubelet = stage.kubelet(1, SETTINGS)
    kubelet.wait_ready()
    (worker,) = kubelet.workers
    stage.lane.set_faults(**SLOW)
    load = stage.load(FAST_PER_S)
    until("the window is full", lambda: _held(worker)[0] >= _WINDOW_POSTS, within_s=60)
    _watch(stage, worker, load, seconds=max(10, stage.scaled(60)))
    load.stop()
    stage.lane.set_faults()
    stage.wait_settled(240)
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of the worker")


def large_post(number: int, rng: random.Random) -> dict[str, Any]:
    """A text of 200 KiB that no other post has."""
    line = f"post number {number}, {rng.random()}: the same line again and again. "
    return {"id": f"post-{number}", "text": (line * (LARGE_BYTES // len(line) + 1))[:LARGE_BYTES]}


@scenario(number=17, name="overload-large")
def overload_large(stage: Stage) -> None:
    """The same with posts of 200 KiB, which the fake engine judges in segments."""
    kubelet = stage.kubelet(1, SETTINGS | {"limits.post_tokens": str(2 * LARGE_BYTES)})
    kubelet.wait_ready()
    (worker,) = kubelet.workers
    stage.lane.set_faults(**SLOW)
    load = stage.load(LARGE_PER_S, make=large_post)
    until("the window is full", lambda: _held(worker)[1] > _WINDOW_BYTES - 2 * LARGE_BYTES, within_s=120)
    _watch(stage, worker, load, seconds=max(10, stage.scaled(20)))
    load.stop()
    stage.lane.set_faults()
    stage.wait_settled(_LARGE_SETTLE_S)
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of the worker")


def _watch(stage: Stage, worker: WorkerProcess, load: Load, *, seconds: float) -> None:
    """Look at what the worker holds and takes while the posts pile up."""
    full_mib = most_mib = _full_mib(worker)
    answered, accepted, behind = stage.lane.answers(), load.count, stage.behind()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        posts, size_bytes = _held(worker)
        most_mib = max(most_mib, _rss_mib(worker))
        stage.require(posts <= _WINDOW_POSTS, f"{posts:g} posts in the window")
        stage.require(size_bytes <= _WINDOW_BYTES, f"{size_bytes:g} bytes in the window")
    growth = most_mib / full_mib - 1
    judged, sent, lag = stage.lane.answers() - answered, load.count - accepted, stage.behind()
    stage.note(
        "overloaded",
        rss_mib_full=round(full_mib),
        rss_mib_most=round(most_mib),
        rss_growth_percent=round(100 * growth, 1),
        sent_meanwhile=sent,
        judged_meanwhile=judged,
        lag=lag,
    )
    stage.require(
        growth < _MOST_GROWTH, f"the worker's memory grew by {growth:.0%} while nothing more fits in"
    )
    stage.require(sent > 20 * judged, f"{sent} posts sent and {judged} judged is no overload")
    stage.require(lag > behind, "the posts do not pile up in Kafka")


def _full_mib(worker: WorkerProcess) -> float:
    """Memory once it stands still: a busy machine takes its time to cut and tokenise the window."""
    level, stands_since = _rss_mib(worker), time.monotonic()

    def still() -> bool:
        nonlocal level, stands_since
        now_mib, now = _rss_mib(worker), time.monotonic()
        if now_mib > level * (1 + _STILL_GROWTH):
            level, stands_since = now_mib, now
        return now - stands_since >= _STILL_S

    until("the worker's memory stands still", still, within_s=_FILLS_S)
    return max(level, _rss_mib(worker))


def _held(worker: WorkerProcess) -> tuple[float, float]:
    """Posts and bytes in the window."""
    return worker.metric("sluicegate_window_posts"), worker.metric("sluicegate_window_bytes")


def _rss_mib(worker: WorkerProcess) -> float:
    """Resident memory, from /proc (Linux)."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    (line,) = (one for one in status.splitlines() if one.startswith("VmRSS:"))
    return float(line.split()[1]) / 1024
