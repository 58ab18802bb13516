"""The disk loses the end of the posts' log, below what was committed, and new posts take the same offsets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.collector import committed
from support.log_files import cut_log
from support.workers import LEAVE_S, QUICK, READY_S, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from support.collector import Sent

_SENDINGS = 10
_NOTICED_S = 15.0
_COMMITS_S = 6 * float(QUICK["kafka.commit_interval_s"])
SLOW_S = 12.0
"""How long the engine takes for a post that is to be answered too late: longer than a broker takes to come back."""


def send_some(stage: Stage, name: str, count: int) -> list[Sent]:
    """Send posts in small batches, so that a log can be cut between them. They say their name in their texts."""
    share = max(1, count // _SENDINGS)
    sent: list[Sent] = []
    while len(sent) < count:
        first = len(sent)
        sent += stage.lane.send(
            {"id": f"{name}-{number}", "text": f"{name} number {number}"}
            for number in range(first, first + share)
        )
    return sent


def kill(_stage: Stage, kubelet: Kubelet) -> None:
    """SIGKILL every worker."""
    kubelet.kill(*kubelet.workers)


def stop(stage: Stage, kubelet: Kubelet) -> None:
    """SIGTERM every worker, one after the other."""
    for _ in kubelet.workers:
        code = kubelet.terminate_one(stage.rng, within_s=LEAVE_S)
        stage.require(code == 0, f"a worker told to stop exited with {code}")


@scenario(number=20, name="log-cut-and-killed")
def log_cut_and_killed(stage: Stage) -> None:
    """The engine is away and posts are held; the log is cut, new posts come, and the worker is killed."""
    _cut_in_a_hold(stage, kill)


@scenario(number=20, name="log-cut-and-stopped")
def log_cut_and_stopped(stage: Stage) -> None:
    """The same, and the worker is told to stop: what it commits then must not stand above new posts."""
    _cut_in_a_hold(stage, stop)


@scenario(number=20, name="log-cut-and-answered-late")
def log_cut_and_answered_late(stage: Stage) -> None:
    """Posts that were cut off are answered after that: what this acknowledges must not stand above new posts."""
    kubelet, before = _settled_worker(stage)
    stage.lane.set_faults(slow={"marker": "cut off", "delay_s": SLOW_S})
    began = time.monotonic()
    send_some(stage, "cut off", stage.scaled(400))
    time.sleep(1.0)  # they are in the engine
    stage.lane.set_faults(slow={"marker": "new", "delay_s": 2 * SLOW_S})
    _cut(stage, kubelet, before)
    stage.sent += send_some(stage, "new", stage.scaled(500))
    time.sleep(max(0.0, began + SLOW_S + _COMMITS_S - time.monotonic()))
    kill(stage, kubelet)
    stage.lane.set_faults()
    stage.wait_answered()


@scenario(number=20, name="log-cut-while-nobody-reads")
def log_cut_while_nobody_reads(stage: Stage) -> None:
    """The worker has stopped; the log is cut, and has grown past its commit before the next one starts."""
    kubelet, before = _settled_worker(stage)
    kubelet.stop()
    _cut_log(stage, before)
    stage.sent += send_some(stage, "new", stage.scaled(900))
    stage.kubelet(1)
    stage.wait_answered()


def _cut_in_a_hold(stage: Stage, end: Callable[[Stage, Kubelet], None]) -> None:
    kubelet, before = _settled_worker(stage)
    stage.lane.set_faults(die=True)
    (worker,) = kubelet.workers
    held = send_some(stage, "cut off", stage.scaled(400))
    until("they are held", lambda: worker.metric("sluicegate_window_posts") == len(held), within_s=READY_S)
    _cut(stage, kubelet, before)
    stage.sent += send_some(stage, "new", stage.scaled(500))
    time.sleep(_COMMITS_S)
    end(stage, kubelet)
    stage.lane.set_faults()
    stage.wait_answered()


def _settled_worker(stage: Stage) -> tuple[Kubelet, list[Sent]]:
    kubelet = stage.kubelet(1)
    kubelet.wait_ready()
    before = send_some(stage, "before", stage.scaled(300))
    stage.sent += before
    stage.wait_settled()
    return kubelet, before


def _cut(stage: Stage, kubelet: Kubelet, before: list[Sent]) -> None:
    """Cut each partition to about a third of what is committed, and wait until the worker has noticed."""
    partitions = _cut_log(stage, before)
    (worker,) = kubelet.workers
    deadline = time.monotonic() + _NOTICED_S
    while worker.output.count("log_cut") < partitions and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(_COMMITS_S)


def _cut_log(stage: Stage, before: list[Sent]) -> int:
    """Cut each partition, and say how many there are."""
    lane = stage.lane
    reached = committed(lane.bootstrap, lane.group, lane.posts)
    stage.kafka.kill()
    left = {
        number: cut_log(stage.kafka.data() / f"{lane.posts}-{number}", offset // 3)
        for number, offset in reached.items()
    }
    stage.kafka.restart()
    stage.sent[:] = [one for one in before if one.offset < left[one.partition]]
    stage.note("cut", committed=sum(reached.values()), left=sum(left.values()))
    return len(left)
