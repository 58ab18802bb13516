"""Watches processes from outside while a cell runs, and makes figures of it: CPU time by /proc (Linux), a worker's own metrics."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.figures import Span, engine_figures, rise, steady
from sluicegate.pipeline.trial.bench.figures import read_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compare.figures import Samples


_EVERY_S = 0.1
_SCRAPE_EVERY = 3  # looks; a scrape is work for the worker
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(stat: str) -> float:
    """User and system time in the text of ``/proc/<pid>/stat``; its second field may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of(pid: int) -> float | None:
    """CPU seconds of one process, its threads included; None if it is gone."""
    try:
        return cpu_seconds(Path("/proc", str(pid), "stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def children_of(pid: int) -> list[int]:
    """The processes that a process started, such as the server of an engine."""
    try:
        return [
            int(one)
            for task in Path("/proc", str(pid), "task").iterdir()
            for one in (task / "children").read_text().split()
        ]
    except (OSError, ValueError):
        return []


class Watch(threading.Thread):
    """Takes samples until it is stopped.

    Args:
        pids: The processes of one system; their CPU times are added up.
        metrics: Gives the text of a worker's metrics; None where nobody has any.
    """

    def __init__(self, pids: Sequence[int], metrics: Callable[[], str] | None = None) -> None:
        super().__init__(name="watch", daemon=True)
        self._pids = pids
        self._metrics = metrics
        self._over = threading.Event()
        self.cpu: Samples = []
        """CPU seconds of the processes themselves."""
        self.engine_cpu: Samples = []
        """Those of the processes that they started."""
        self.counts: list[dict[str, float]] = []
        """What the worker's metrics say of its engine."""

    def run(self) -> None:
        """Sample until :meth:`stop`."""
        looks = 0
        while not self._over.wait(_EVERY_S):
            self._sample()
            looks += 1
            if self._metrics is not None and looks % _SCRAPE_EVERY == 0:
                self._scrape(self._metrics())

    def stop(self) -> None:
        """End; the samples stay."""
        self._over.set()
        self.join()

    def _sample(self) -> None:
        now = time.time()
        times = [cpu_of(pid) for pid in self._pids]
        if None not in times:
            self.cpu.append((now, sum(one for one in times if one is not None)))
            started = [cpu_of(one) or 0.0 for pid in self._pids for one in children_of(pid)]
            self.engine_cpu.append((now, sum(started)))

    def _scrape(self, text: str) -> None:
        now = time.time()
        try:
            busy_s, _ = read_metrics(text)
        except ValueError:
            return
        self.counts.append({"at_s": now, "saturated_s": busy_s})


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of JSON in a file that a process may be writing; none without the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def figures(
    answered_at: Sequence[float], watch: Watch, counts: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """What the answers' times, the processes' CPU times and the engine's counts say of a cell.

    Raises:
        RuntimeError: Too little was answered to say anything.
    """
    return of_span(steady(answered_at), watch, counts) | {"answered": len(answered_at)}


def of_span(span: Span | None, watch: Watch, counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The same for a known steady part.

    Raises:
        RuntimeError: There is none.
    """
    if span is None:
        raise RuntimeError("too little was answered to have a steady part")
    found = {"posts_per_s": span.per_s} | engine_figures(counts, span)
    cpu, engine_cpu = rise(watch.cpu, span), rise(watch.engine_cpu, span)
    if cpu is not None:
        found |= {"cpu_share": cpu / span.seconds, "cpu_s_per_post": cpu / span.posts}
    if engine_cpu:
        found["engine_cpu_share"] = engine_cpu / span.seconds
    return found


def busy_share(
    counts_of: Sequence[Sequence[Mapping[str, float]]], answered_at: Sequence[float]
) -> float | None:
    """Engine busy share in the mean over several engines, in the steady part; None where none counted."""
    span = steady(answered_at)
    shares = [engine_figures(counts, span).get("busy_share") for counts in counts_of] if span else []
    known = [one for one in shares if one is not None]
    return sum(known) / len(known) if known else None
