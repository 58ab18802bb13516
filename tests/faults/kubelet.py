"""A kubelet of the tests' own: keeps so many workers running, and starts anew whichever exits."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from support.workers import READY_S, WorkerProcess, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from faults.history import History
    from support.workers import Lane

TESTS = Path(__file__).resolve().parents[1]
_LOOK_S = 0.1
_BACK_OFF_FIRST_S, _BACK_OFF_MOST_S = 0.1, 5.0
_SETTLED_S = 10.0  # who ran for so long starts anew without waiting
_LEAVE_S = 30.0


@dataclass(slots=True)
class _Slot:
    """The place of one replica."""

    worker: WorkerProcess
    started_at: float
    back_off_s: float = _BACK_OFF_FIRST_S
    start_at: float | None = None
    """When to start the next one; None while one runs."""


@dataclass(slots=True)
class _Tally:
    restarts: int = 0
    exits: Counter[int] = field(default_factory=Counter)


class Kubelet:
    """Workers on a lane, restarted when they exit, with a short back-off that grows for who exits at once.

    Args:
        lane: Where the workers work.
        replicas: How many.
        settings: Further settings of each.
        history: Gets every start, kill and exit.
        module: What to run in place of the real worker.
        environment: Further environment variables of each.
    """

    def __init__(
        self,
        lane: Lane,
        replicas: int,
        settings: dict[str, str],
        history: History,
        *,
        module: str = "sluicegate",
        environment: dict[str, str] | None = None,
    ) -> None:
        self._lane = lane
        self._settings = settings
        self._history = history
        self._module = module
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {"PYTHONPATH": os.pathsep.join(paths)} | (environment or {})
        self._tally = _Tally()
        self._lock = threading.RLock()
        self._leaving: list[WorkerProcess] = []
        self._slots = [self._new_slot() for _ in range(replicas)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self._thread.start()

    @property
    def restarts(self) -> int:
        """Workers started in place of one that exited."""
        return self._tally.restarts

    @property
    def exits(self) -> Counter[int]:
        """Exit codes seen so far; a killed worker's is minus the signal's number."""
        with self._lock:
            return Counter(self._tally.exits)

    @property
    def workers(self) -> list[WorkerProcess]:
        """The replicas that run now."""
        with self._lock:
            return [slot.worker for slot in self._slots if slot.start_at is None and slot.worker.running]

    def wait_ready(self, *, within_s: float = READY_S) -> None:
        """Wait until every replica is ready.

        Raises:
            AssertionError: One was not in time.
        """
        until("every replica is ready", lambda: self._all(WorkerProcess.ready), within_s=within_s)

    def wait_joined(self) -> None:
        """Wait until every replica is in the group, ready or not.

        Raises:
            AssertionError: One was not in time.
        """
        until("every replica is in the group", lambda: self._all(_has_joined), within_s=READY_S)

    def kill_one(self, rng: random.Random) -> bool:
        """SIGKILL one that runs, wherever it is in its life; False if none runs at this moment."""
        with self._lock:
            running = self.workers
            if not running:
                return False
            self.kill(rng.choice(running))
            return True

    def kill(self, *workers: WorkerProcess) -> None:
        """SIGKILL these, one directly after the other."""
        with self._lock:
            for worker in workers:
                self._history.note("kill", worker=worker.folder.name)
                worker.kill()

    def terminate_one(self, rng: random.Random, *, within_s: float = _LEAVE_S) -> int:
        """SIGTERM one that runs, and give its exit code; another takes its place.

        Raises:
            AssertionError: None runs, or it did not leave in time.
        """
        running = self.workers
        assert running, "no worker runs"
        worker = rng.choice(running)
        self._history.note("terminate", worker=worker.folder.name)
        worker.terminate()
        return worker.wait(within_s)

    def scale(self, replicas: int) -> None:
        """Start further replicas, or send SIGTERM to the newest ones without waiting for them."""
        with self._lock:
            self._history.note("scale", replicas=replicas)
            while len(self._slots) < replicas:
                self._slots.append(self._new_slot())
            for slot in self._slots[replicas:]:
                if slot.start_at is None:
                    if slot.worker.running:
                        slot.worker.terminate()
                    self._leaving.append(slot.worker)
            del self._slots[replicas:]

    def stop(self, *, within_s: float = _LEAVE_S) -> None:
        """SIGTERM to all, wait, and kill what is left. Safe to call twice."""
        self.scale(0)
        # The thread goes on meanwhile: a child dies with the thread that started it (dies_with_us).
        deadline = time.monotonic() + within_s
        while self._leaving and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        for worker in list(self._leaving):
            self._history.note("kill at the end", worker=worker.folder.name)
            worker.kill()
        self._stopping.set()
        self._thread.join()
        self._reap()

    def _all(self, good: Callable[[WorkerProcess], bool]) -> bool:
        with self._lock:
            workers = [slot.worker for slot in self._slots if slot.start_at is None]
            complete = len(workers) == len(self._slots)
        return complete and all(good(worker) for worker in workers)

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            with self._lock:
                for slot in self._slots:
                    self._tend(slot)
                self._reap()

    def _tend(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.start_at is None and not slot.worker.running:
            self._count_exit(slot.worker)
            if now - slot.started_at > _SETTLED_S:
                slot.back_off_s = _BACK_OFF_FIRST_S
            slot.start_at = now + slot.back_off_s
            slot.back_off_s = min(slot.back_off_s * 2, _BACK_OFF_MOST_S)
        elif slot.start_at is not None and now >= slot.start_at:
            self._tally.restarts += 1
            slot.worker, slot.started_at, slot.start_at = self._start(), now, None

    def _reap(self) -> None:
        with self._lock:
            for worker in [one for one in self._leaving if not one.running]:
                self._count_exit(worker)
                self._leaving.remove(worker)

    def _count_exit(self, worker: WorkerProcess) -> None:
        code = worker.wait(1.0)
        self._tally.exits[code] += 1
        self._history.note("exit", worker=worker.folder.name, code=code)

    def _new_slot(self) -> _Slot:
        return _Slot(self._start(), time.monotonic())

    def _start(self) -> WorkerProcess:
        worker = self._lane.start(self._settings, self._environment, module=self._module)
        self._history.note("start", worker=worker.folder.name, pid=worker.pid)
        return worker


def _has_joined(worker: WorkerProcess) -> bool:
    body = worker.get("/readyz")[1]
    return bool(body) and bool(orjson.loads(body)["group"])
