"""What patterns cost a worker: memory of a full feed, and time of a post, beside a loop that does nothing."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from shared_patterns.floods import everyday
from sluicegate.pipeline.patterns.matcher import LivePattern, PatternIndex, write_live

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATTERNS, VALUES = 100_000, 12
_ROUNDS, _TOGETHER = 25, 200
"""Two milliseconds at a time, the best of 25: others are at work on the machine."""
_KEY = "k", bytes(range(32))


@dataclass(frozen=True, slots=True)
class CostFigures:
    """What was measured."""

    megabytes: float
    """Resident memory that 100,000 patterns of 12 values take, the file that they are read from left out."""
    microseconds: float
    """Processor time of a post that matches nothing."""
    posts: int
    characters: float
    """In the mean."""


def measure_cost(posts: Sequence[str]) -> CostFigures:
    """Measure in a process of its own.

    Args:
        posts: Harmless ones; none takes written ones.
    """
    done = subprocess.run(
        [sys.executable, "-m", "shared_patterns.cost"],
        input=json.dumps(list(posts)),
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return CostFigures(**json.loads(done.stdout))


def main() -> None:
    """Read posts from standard input, measure, print."""
    chance = random.Random(1)  # noqa: S311 - so that a run can be repeated
    posts = json.loads(sys.stdin.read()) or [everyday(chance) for _ in range(5_000)]
    until = datetime.now(UTC).date() + timedelta(days=30)
    content = write_live(
        (
            LivePattern(f"{number:016x}", until, confirmed=False),
            _KEY[0],
            [chance.randbytes(8).hex() for _ in range(VALUES)],
        )
        for number in range(PATTERNS)
    )
    gc.collect()
    before = _resident()
    index = PatternIndex(content, dict([_KEY]))
    gc.collect()
    megabytes = (_resident() - before) / 1e6
    find, spent = index.find, 0.0
    for at in range(0, len(posts), _TOGETHER):
        some = posts[at : at + _TOGETHER]
        spent += min(_seconds(find, some) for _ in range(_ROUNDS))
    print(
        json.dumps(
            {
                "megabytes": megabytes,
                "microseconds": spent / len(posts) * 1e6,
                "posts": len(posts),
                "characters": sum(map(len, posts)) / len(posts),
            }
        )
    )


def _seconds(find: Callable[[str], object], some: Sequence[str]) -> float:
    began = time.process_time()
    for text in some:
        find(text)
    return time.process_time() - began


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
