"""Three real workers on Apache Kafka, replaced one by one under the load of ``sluicegate bench``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from support import command
from support.workers import Lane, WorkerProcess, open_lane

if TYPE_CHECKING:
    from pathlib import Path

    from support.kafka import ApacheKafka

WORKERS, PARTITIONS = 3, 12
LOAD = 0.7
LEAD_S, PAUSE_S, SEND_S = 8.0, 4.0, 75.0
"""Before the first worker goes, after each that came, and in all."""
PATIENCE_S = 120.0
_START_S, _LEAVE_S = 180.0, 60.0
_LOOK_S = 0.1
_PROBE_PER_S, _PROBE_S = 70.0, 10.0
_POSTS = 30_000
ENGINE = {
    "prefill_tokens_per_s": 1_000,
    "decode_tokens_per_s": 500,
    "step_s": 0.01,
    "bytes_per_token": 4.0,
    "in_flight_batching": True,
    "saturating_prompts": 16,
}
"""Slow, so that engines and not two busy cores are the limit."""
SETTINGS = {
    "kafka.session_timeout_s": "20",
    "kafka.rebalance_timeout_s": "90",
    "kafka.commit_interval_s": "1",
    "kafka.delivery_timeout_s": "30",
    "drain.finish_s": "10",
    "drain.flush_s": "10",
    "drain.leave_s": "10",
    "drain.budget_s": "35",
    "log.level": "warning",
}
"""The defaults where the lane of the tests has shorter ones."""


@dataclass(frozen=True, slots=True)
class Way:
    """How workers are replaced."""

    name: str
    static: bool = False
    """Each has a name in the group that its successor takes over."""
    surge: bool = False
    """The next one is ready before one leaves."""
    before: bool = False
    """The release whose rebalances stop every worker."""


WAYS = (
    Way("one leaves first"),
    Way("static member", static=True),
    Way("one comes first", surge=True),
    Way("one leaves first, rebalances stop all", before=True),
)
"""The first is what the chart does with a GPU, the third what it does without one."""


@dataclass(slots=True)
class Replaced:
    """How long the replacement of one worker took, in seconds."""

    leave_s: float
    """From SIGTERM to the end of the process: the drain."""
    start_s: float
    """From the start of the next process to its readiness."""


@dataclass(slots=True)
class Rolled:
    """What one run left."""

    way: str
    rolled: bool
    """False for the same load on workers that nobody replaces."""
    figures: dict[str, float | None]
    """Of the bench."""
    worst_second_p99_ms: float | None
    unowned_partition_s: float
    """Partitions that no worker said it had, by the time that they stood so."""
    roll_s: float = 0.0
    replaced: list[Replaced] = field(default_factory=list)

    @property
    def repeats_share(self) -> float:
        """Further answers by answered posts."""
        further = (self.figures["repeats_same_id"] or 0) + (self.figures["repeats_other_id"] or 0)
        return further / (self.figures["answered"] or 1)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"repeats_share": round(self.repeats_share, 5)}


def wait_ready(worker: WorkerProcess) -> None:
    """Wait until a worker is ready, on a machine that may be busy.

    Raises:
        TimeoutError: It was not in time.
        RuntimeError: It ended.
    """
    deadline = time.monotonic() + _START_S
    while not worker.ready():
        if not worker.running:
            raise RuntimeError(f"a worker ended: {worker.output[-2000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker was not ready within {_START_S:g} s")
        time.sleep(_LOOK_S)


class Crew:
    """The workers of one run."""

    def __init__(self, lane: Lane, way: Way, before: Path | None) -> None:
        self._lane = lane
        self._way = way
        self._environment = {"PYTHONPATH": str(before / "src")} if way.before and before is not None else {}
        self.workers = [self._start(slot) for slot in range(WORKERS)]
        for worker in self.workers:
            wait_ready(worker)

    def _start(self, slot: int) -> WorkerProcess:
        named = {"kafka.instance_id": f"worker-{slot}"} if self._way.static else {}
        return self._lane.start(SETTINGS | named, self._environment)

    def wait_shared(self) -> None:
        """Wait until all partitions have an owner and none has all."""
        deadline = time.monotonic() + _LEAVE_S
        while not (sum(found := self.owned()) == PARTITIONS and min(found) > 0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions by worker: {found}")
            time.sleep(_LOOK_S)

    def owned(self) -> list[float]:
        """Partitions by worker."""
        return [one.metric("sluicegate_partitions_assigned") for one in list(self.workers) if one.running]

    def replace(self, slot: int) -> Replaced:
        """Put a worker into the place of another."""
        old = self.workers[slot]
        if self._way.surge:
            began = time.monotonic()
            new = self._start(slot)
            self.workers.append(new)
            wait_ready(new)
            ready_s = time.monotonic() - began
            left_s = self._leave(old)
            self.workers.remove(new)
        else:
            left_s = self._leave(old)
            began = time.monotonic()
            new = self._start(slot)
        self.workers[slot] = new
        if not self._way.surge:
            wait_ready(new)
            ready_s = time.monotonic() - began
        return Replaced(round(left_s, 2), round(ready_s, 2))

    def _leave(self, worker: WorkerProcess) -> float:
        began = time.monotonic()
        worker.terminate()
        if code := worker.wait(_LEAVE_S):
            raise RuntimeError(f"a worker left with {code}: {worker.output[-2000:]}")
        return time.monotonic() - began


class OwnerWatch(threading.Thread):
    """Adds up for how long partitions had no owner. Use as a context manager."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(name="owners", daemon=True)
        self._crew = crew
        self._over = threading.Event()
        self.unowned_s = 0.0

    def run(self) -> None:
        """Look, until the end."""
        at = time.monotonic()
        while not self._over.wait(_LOOK_S):
            missing = max(0.0, PARTITIONS - sum(self._crew.owned()))
            at, before = time.monotonic(), at
            self.unowned_s += missing * (at - before)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self.join()


def bench(lane: Lane, posts: Path, out: Path, *, rate: float, duration_s: float) -> subprocess.Popen[bytes]:
    """Start ``sluicegate bench`` on a lane."""
    settings = {
        "kafka.bootstrap_servers": lane.bootstrap,
        "topics.posts": lane.posts,
        "topics.control": f"{lane.prefix}.control",
        **{f"topics.{name}": topic for name, topic in lane.outputs.items()},
    }
    options = {"rate": rate, "duration": duration_s, "patience": PATIENCE_S, "settle": 5, "out": out}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sluicegate", "bench", str(posts)),
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        ],
        env=command.environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def result(out: Path) -> dict[str, Any]:
    """What a bench wrote."""
    system: dict[str, Any] = json.loads((out / "bench.json").read_text(encoding="utf-8"))["systems"][0]
    return system


def write_posts(path: Path) -> Path:
    """Posts whose texts are all different, so that no cache answers."""
    words = "the tram in the rain was late again and nobody at the stop had an umbrella " * 4
    lines = (json.dumps({"id": str(number), "text": f"{number} {words}"}) for number in range(_POSTS))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def capacity(kafka: ApacheKafka, folder: Path, posts: Path) -> float:
    """Posts a second of three workers, from a load that they cannot keep up with."""
    folder.mkdir(parents=True)
    with open_lane(kafka, folder, partitions=PARTITIONS) as lane:
        lane.set_fake(**ENGINE)
        Crew(lane, WAYS[0], None).wait_shared()
        if code := bench(lane, posts, folder / "bench", rate=_PROBE_PER_S, duration_s=_PROBE_S).wait():
            raise RuntimeError(f"the probe ended with {code}")
        return float(result(folder / "bench")["figures"]["answered_per_s"])


def run(
    kafka: ApacheKafka, folder: Path, posts: Path, way: Way, *, rate: float, roll: bool, before: Path | None
) -> Rolled:
    """One run: the load, and in it the replacement of each worker.

    Raises:
        RuntimeError: A worker or the bench did not end well.
        TimeoutError: Not all partitions found an owner.
    """
    folder.mkdir(parents=True)
    with open_lane(kafka, folder, partitions=PARTITIONS) as lane:
        lane.set_fake(**ENGINE)
        crew = Crew(lane, way, before)
        crew.wait_shared()
        loading = bench(lane, posts, folder / "bench", rate=rate, duration_s=SEND_S)
        replaced, began = [], time.monotonic()
        with OwnerWatch(crew) as watch:
            if roll:
                time.sleep(LEAD_S)
                began = time.monotonic()
                for slot in range(WORKERS):
                    replaced.append(crew.replace(slot))
                    time.sleep(PAUSE_S)
            roll_s = time.monotonic() - began if roll else 0.0
            if code := loading.wait():
                raise RuntimeError(f"the bench ended with {code}")
        found = result(folder / "bench")
        worst = max((one["p99_ms"] for one in found["intervals"] if one["p99_ms"]), default=None)
        return Rolled(
            way.name, roll, found["figures"], worst, round(watch.unowned_s, 2), round(roll_s, 1), replaced
        )
