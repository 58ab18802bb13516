"""Worker processes for tests: started as users start them, watched over HTTP, ended by their own pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from support import command, endpoint
from support.collector import committed, ends, read, send
from support.kafka import dies_with_us, free_ports, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.collector import Record, Sent
    from support.kafka import ApacheKafka

READY_S = 60.0
_POLL_S = 0.05

# Short, so that a killed worker's partitions are soon somebody else's, and a drain is soon over.
QUICK = {
    "kafka.session_timeout_s": "3",
    "kafka.rebalance_timeout_s": "20",
    "kafka.commit_interval_s": "0.3",
    "kafka.delivery_timeout_s": "10",
    "drain.finish_s": "4",
    "drain.flush_s": "3",
    "drain.leave_s": "5",
    "drain.budget_s": "12",
    "engine.backend": "fake",
    "log.level": "info",
}
# The budget, and what a kubelet gives a pod beyond it by the chart's `graceMarginSeconds`: later than that it kills.
LEAVE_S = float(QUICK["drain.budget_s"]) + 10


def until(what: str, ready: Callable[[], Any], *, within_s: float) -> Any:
    """Wait until ``ready`` gives something true, and return that.

    Raises:
        AssertionError: It did not in time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(_POLL_S)
    raise AssertionError(f"not within {within_s:g} s: {what}")


class WorkerProcess:
    """One ``sluicegate worker``, with its output in files; ``module`` and ``arguments`` run another in its place."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str],
        environment: dict[str, str] | None = None,
        *,
        module: str = "sluicegate",
        arguments: tuple[str, ...] = ("worker",),
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        (self.port,) = free_ports(1)
        tree = settings | {"ops.port": str(self.port)}
        named = command.environment(tree)
        named["TMPDIR"] = str(folder)  # what a killed worker cannot remove stays in the test's folder
        if cache := os.environ.get("SLUICEGATE_CACHE_DIR"):
            named["SLUICEGATE_CACHE_DIR"] = cache
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*dies_with_us(), sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=named | (environment or {}),
                cwd=folder,
            )

    @property
    def stdout(self) -> Path:
        """File with the standard output."""
        return self.folder / "stdout.log"

    @property
    def stderr(self) -> Path:
        """File with the standard error: the log."""
        return self.folder / "stderr.log"

    @property
    def output(self) -> str:
        """Everything the worker said."""
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of the worker's endpoints; (0, "") while nobody listens."""
        return endpoint.get("127.0.0.1", self.port, path)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while there is none."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].split(" ")[0] == name
        )

    def ready(self) -> bool:
        """True if /readyz answers 200."""
        return self.get("/readyz")[0] == 200

    def wait_ready(self) -> None:
        """Wait until the worker is ready; an end before that fails with its last lines."""
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if not self.running:
                raise AssertionError(
                    f"the worker ended with {self._process.returncode}:\n{tail(self.stderr)}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not ready within {READY_S:g} s: {self.get('/readyz')}\n{tail(self.stderr)}"
                )
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within_s: float) -> int:
        """The exit code.

        Raises:
            AssertionError: The process did not end in time.
        """
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s:g} s:\n{tail(self.stderr)}") from None


@dataclass(slots=True)
class Lane:
    """Topics and a group of one test's own, with the workers on them."""

    bootstrap: str
    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid4().hex[:10]}")
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def posts(self) -> str:
        """The input topic."""
        return f"{self.prefix}.posts"

    @property
    def group(self) -> str:
        """The workers' consumer group."""
        return f"{self.prefix}.workers"

    @property
    def outputs(self) -> dict[str, str]:
        """Output topics by the name of their setting."""
        return {name: f"{self.prefix}.{name}" for name in ("allow", "review", "block", "dead_letter")}

    @property
    def topics(self) -> list[str]:
        """All topics that a worker touches."""
        return [self.posts, *self.outputs.values(), f"{self.prefix}.control"]

    def set_fake(self, **profile: Any) -> None:
        """Give the fake engine a profile, for workers that start from now on."""
        (self.folder / "fake.json").write_text(json.dumps({"faults_file": str(self._faults), **profile}))

    def set_faults(self, **faults: Any) -> None:
        """Switch faults of running fake engines; without arguments, all of them off."""
        part = self._faults.with_suffix(".part")
        part.write_text(json.dumps(faults))
        part.replace(self._faults)  # it appears whole: an engine may be reading

    @property
    def _faults(self) -> Path:
        return self.folder / "faults.json"

    def set_policy(self, document: str) -> dict[str, str]:
        """Write a policy; return the setting that makes a worker use it."""
        path = self.folder / "policy.yaml"
        path.write_text(document)
        return {"policy.path": str(path)}

    def start(
        self,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        *,
        module: str = "sluicegate",
        arguments: tuple[str, ...] = ("worker",),
    ) -> WorkerProcess:
        """Start a worker on this lane, with further settings and environment variables."""
        if not (self.folder / "fake.json").exists():
            self.set_fake()
        own = {
            "kafka.bootstrap_servers": self.bootstrap,
            "kafka.group": self.group,
            "topics.posts": self.posts,
            "topics.control": f"{self.prefix}.control",
            "engine.fake_profile": str(self.folder / "fake.json"),
            **{f"topics.{name}": topic for name, topic in self.outputs.items()},
        }
        folder = self.folder / f"worker-{len(self.workers) + 1}"
        worker = WorkerProcess(
            folder, QUICK | own | (settings or {}), environment, module=module, arguments=arguments
        )
        self.workers.append(worker)
        return worker

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``sluicegate`` on this lane in a process of its own, as somebody at a terminal does."""
        settings = {"kafka.bootstrap_servers": self.bootstrap, "topics.control": f"{self.prefix}.control"}
        return command.run(*arguments, **command.variables_of(settings))

    def send(self, values: Iterable[dict[str, Any] | bytes | None]) -> list[Sent]:
        """Publish to the input topic."""
        return send(self.bootstrap, self.posts, values)

    def read(self) -> list[Record]:
        """Everything that stands on the output topics."""
        return read(self.bootstrap, list(self.outputs.values()))

    def answers(self) -> int:
        """How many records stand on the output topics."""
        return sum(sum(ends(self.bootstrap, topic).values()) for topic in self.outputs.values())

    def wait_answers(self, count: int, *, within_s: float) -> None:
        """Wait until so many records stand on the output topics."""
        until(f"{count} answers", lambda: self.answers() >= count, within_s=within_s)

    def wait_acknowledged(self, *, within_s: float) -> None:
        """Wait until the group has committed everything on the input topic."""
        goal = {number: end for number, end in ends(self.bootstrap, self.posts).items() if end}

        def behind() -> int:
            now = committed(self.bootstrap, self.group, self.posts)
            return sum(end - now[number] for number, end in goal.items())

        try:
            until("all posts acknowledged", lambda: behind() == 0, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {behind()} are not, {self.answers()} answers stand") from None

    def close(self) -> None:
        """Kill what still runs and show the last lines of every log (pytest shows them for a failed test).

        Raises:
            AssertionError: A worker that had ended left a process behind.
        """
        for number, worker in enumerate(self.workers, start=1):
            if worker.running:
                worker.kill()
            print(f"--- worker {number}, last lines\n{tail(worker.stderr, 25)}")
        until("no process of these workers is left", lambda: not self._left_behind(), within_s=15)

    def _left_behind(self) -> list[int]:
        """Processes that inherited this lane's group in their environment (Linux; elsewhere none are found)."""
        mark = self.group.encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes() and b"Z" not in _state(process):
                    found.append(int(process.name))
        return found


def _state(process: Path) -> bytes:
    return (process / "stat").read_bytes().rpartition(b")")[2].split()[0]


@contextmanager
def open_lane(
    kafka: ApacheKafka, folder: Path, *, partitions: int, dead_letter: dict[str, str] | None = None
) -> Iterator[Lane]:
    """A lane on Apache Kafka, with its topics made and its workers ended.

    Args:
        kafka: The cluster.
        folder: For settings and logs.
        partitions: Of the input topic; every other topic has one.
        dead_letter: Topic configuration of the dead letters.
    """
    lane = Lane(kafka.bootstrap, folder)
    kafka.create_topic(lane.posts, partitions)
    for topic in lane.topics[1:]:
        kafka.create_topic(topic, 1, config=dead_letter if topic == lane.outputs["dead_letter"] else None)
    try:
        yield lane
    finally:
        lane.close()
