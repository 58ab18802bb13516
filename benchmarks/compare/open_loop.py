"""The latency of a worker under a load that does not wait for it: `sluicegate bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from compare.process import environment, wait_ready, worker
from support.command import environment as support_environment

if TYPE_CHECKING:
    from pathlib import Path

    from compare.cluster import Lane
    from compare.process import EngineSetup

_MORE_S = 90.0  # to start, to wait for the last answers, and to draw
_NONE = ("drops", "refused", "failures", "dead_letters", "contradictions")
_FIGURES = ("offered_per_s", "answered_per_s", "p50_ms", "p95_ms", "p99_ms", "late_p99_ms", "busy_share")


def at_load(
    lane: Lane, folder: Path, engine: EngineSetup, posts: Path, *, rate: float, seconds: float
) -> dict[str, float]:
    """Latencies from produce to verdict, and how long a micro-batch was in the engine meanwhile.

    Args:
        lane: Topics of its own.
        folder: For logs and the bench's report.
        engine: Of the worker.
        posts: File with what is sent.
        rate: Posts a second, arriving as in a crowd.
        seconds: So long.

    Raises:
        RuntimeError: The bench left no figures.
    """
    with ExitStack() as stack:
        ours = worker(lane, folder / "worker", engine, folder / "counts.jsonl")
        stack.callback(ours.kill)
        wait_ready(ours)
        command = [sys.executable, "-m", "sluicegate", "bench", str(posts), "--out", str(folder / "bench")]
        command += ["--rate", f"{rate:.2f}", "--duration", f"{seconds:g}", "--patience", "15"]
        command += ["--metrics", f"http://127.0.0.1:{ours.port}/metrics"]
        with (folder / "bench.log").open("wb") as log:
            subprocess.run(
                command,
                env=support_environment(lane.settings) | environment(),
                stdout=log,
                stderr=log,
                timeout=seconds + _MORE_S,
                check=False,
            )
        calls_s = ours.metric("sluicegate_engine_call_seconds_total")
        micro_batches = ours.metric("sluicegate_micro_batch_posts_count")
    return latencies(folder / "bench" / "bench.json") | {
        "micro_batch_ms": 1000 * calls_s / max(1, micro_batches)
    }


def latencies(report: Path) -> dict[str, float]:
    """The figures of a bench's report.

    Raises:
        RuntimeError: There is none, no post was answered in it, or it is of a run that was cut short or lost or did not judge some.
    """
    if not report.exists():
        raise RuntimeError("the bench left no report; its log is in the folder of this cell")
    system = json.loads(report.read_text(encoding="utf-8"))["systems"][-1]
    found: dict[str, Any] = system["figures"]
    wrong = {name: found[name] for name in _NONE if found.get(name)}
    if system.get("stopped") or wrong:
        raise RuntimeError(f"the load went wrong: {system.get('stopped') or wrong}")
    if found.get("p99_ms") is None:
        raise RuntimeError("the bench saw no answer")
    return {name: found[name] for name in _FIGURES if found.get(name) is not None}


def limit_ms(micro_batch_ms: float) -> float:
    """What the latency is compared with: two micro-batches, and 20 ms."""
    return 2 * micro_batch_ms + 20
