"""Watches processes from outside: memory and file descriptors. Linux, by /proc."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.history import History
    from support.workers import WorkerProcess

MEMORY_LIMIT_BYTES = 2 * 2**30  # a run that leaks into this ends early instead of taking the machine along
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment."""

    at_s: float
    rss_bytes: int
    descriptors: int


def sample(pid: int, at_s: float) -> Sample | None:
    """Look at a process; None if it has gone."""
    process = Path("/proc", str(pid))
    try:
        found = _RSS.search((process / "status").read_text())
        descriptors = sum(1 for _ in (process / "fd").iterdir())
    except OSError:
        return None
    return Sample(at_s, int(found[1]) * 1024, descriptors) if found else None


@dataclass(frozen=True)
class Growth:
    """How a process changed between the end of its warm-up and the end of the run; medians of an interval each."""

    start_bytes: float
    end_bytes: float
    start_descriptors: float
    end_descriptors: float
    least_descriptors: int
    most_descriptors: int

    @property
    def percent(self) -> float:
        """Growth of the memory."""
        return 100 * (self.end_bytes / self.start_bytes - 1)


def growth(samples: Sequence[Sample], *, warm_up_s: float) -> Growth | None:
    """Compare the first fifth after the warm-up with the last; None if there is too little to compare."""
    kept = [one for one in samples if one.at_s >= warm_up_s]
    size = len(kept) // 5
    if size < 1:
        return None
    first, last = kept[:size], kept[-size:]
    return Growth(
        start_bytes=median(one.rss_bytes for one in first),
        end_bytes=median(one.rss_bytes for one in last),
        start_descriptors=median(one.descriptors for one in first),
        end_descriptors=median(one.descriptors for one in last),
        least_descriptors=min(one.descriptors for one in kept),
        most_descriptors=max(one.descriptors for one in kept),
    )


class Watched:
    """Samples of processes, by worker, with a line in the history for each."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._began = time.monotonic()
        self.lives: dict[str, list[Sample]] = {}

    @property
    def now_s(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began

    def look(self, workers: Sequence[WorkerProcess]) -> None:
        """Take one sample of each."""
        for worker in workers:
            found = sample(worker.pid, round(self.now_s, 1))
            if found is not None:
                self.lives.setdefault(worker.folder.name, []).append(found)
                self._history.note("sample", worker=worker.folder.name, **asdict(found))

    @property
    def too_large(self) -> bool:
        """True if a worker or this process itself is beyond the limit."""
        own = sample(os.getpid(), 0.0)
        latest = [life[-1].rss_bytes for life in self.lives.values()] + ([own.rss_bytes] if own else [])
        return max(latest, default=0) > MEMORY_LIMIT_BYTES
