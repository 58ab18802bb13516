"""SIGKILL at random moments, and at the worst one."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.workers import QUICK, READY_S, until

if TYPE_CHECKING:
    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from support.workers import WorkerProcess

KILLS = 52
_RATE_PER_S = 150.0
_BEHIND_THE_HEAD = 200
_PARTITIONS = 3  # of every scenario that does not say otherwise
_TAKE_OVERS = 8


@scenario(number=1, name="sigkill", short=True)
def sigkill(stage: Stage) -> None:
    """Three workers under load; one to three at a time are killed at random moments, whatever they are doing."""
    kill_at_random(stage)


@scenario(number=1, name="standby-takes-over")
def standby_takes_over(stage: Stage) -> None:
    """One worker more than partitions: those that read are killed at once, and who had nothing takes all of it."""
    stage.lane.set_fake(call_overhead_s=0.05)
    kubelet = stage.kubelet(_PARTITIONS + 1, {"kafka.session_timeout_s": "1.5"})
    load = stage.load(_RATE_PER_S)
    rounds = stage.scaled(_TAKE_OVERS)
    for _ in range(rounds):
        kubelet.wait_ready()
        standby = until("one has nothing to read", lambda: _standby(kubelet), within_s=READY_S)
        time.sleep(stage.rng.uniform(0.5, 3.0))  # the others commit
        kubelet.kill(*(one for one in kubelet.workers if one is not standby))
        until("it reads everything", partial(_reads_all, standby), within_s=READY_S)
    load.stop()
    stage.note("killed", take_overs=rounds, restarts=kubelet.restarts)
    stage.require(set(kubelet.exits) <= {-9}, f"a worker ended by itself: exit codes {dict(kubelet.exits)}")


@scenario(number=1, name="sigkill-with-a-slow-head", partitions=1, short=True)
def sigkill_with_a_slow_head(stage: Stage) -> None:
    """The first post hangs in the engine while all behind it are answered; then the worker is killed."""
    kill_behind_a_slow_head(stage)


def _standby(kubelet: Kubelet) -> WorkerProcess | None:
    """The one that reads no partition, where all others read one each."""
    read = {worker: _reads(worker) for worker in kubelet.workers}
    if sorted(read.values()) != [0.0] + [1.0] * _PARTITIONS:
        return None
    return next(worker for worker, partitions in read.items() if not partitions)


def _reads_all(worker: WorkerProcess) -> bool:
    return _reads(worker) == _PARTITIONS


def _reads(worker: WorkerProcess) -> float:
    return worker.metric("sluicegate_partitions_assigned")


def kill_at_random(
    stage: Stage, *, module: str = "sluicegate", environment: dict[str, str] | None = None
) -> None:
    """The scenario ``sigkill`` for any worker."""
    stage.lane.set_fake(call_overhead_s=0.05)
    settings = {"kafka.session_timeout_s": "1.5"}
    kubelet = stage.kubelet(3, settings, module=module, environment=environment)
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    kills = 0
    while kills < stage.scaled(KILLS):
        time.sleep(stage.rng.uniform(0.5, 7.0))
        for _ in range(stage.rng.choice((1, 1, 2, 3))):
            kills += kubelet.kill_one(stage.rng)
    load.stop()
    stage.note("killed", kills=kills, restarts=kubelet.restarts)
    stage.require(set(kubelet.exits) <= {-9}, f"a worker ended by itself: exit codes {dict(kubelet.exits)}")


def kill_behind_a_slow_head(
    stage: Stage, *, module: str = "sluicegate", environment: dict[str, str] | None = None
) -> None:
    """The scenario ``sigkill-with-a-slow-head`` for any worker."""
    lane = stage.lane
    lane.set_faults(hang={"marker": "slow"})
    kubelet = stage.kubelet(1, module=module, environment=environment)
    kubelet.wait_ready()
    (worker,) = kubelet.workers
    stage.sent += lane.send([{"id": "head", "text": "a slow one"}])
    until(
        "the head is in work",
        lambda: worker.metric("sluicegate_engine_prompts_in_work") == 1,
        within_s=READY_S,
    )
    stage.sent += lane.send(
        {"id": f"post-{number}", "text": f"post number {number}"} for number in range(_BEHIND_THE_HEAD)
    )
    lane.wait_answers(_BEHIND_THE_HEAD, within_s=READY_S)
    time.sleep(3 * float(QUICK["kafka.commit_interval_s"]))  # commits may do their worst
    kubelet.kill_one(stage.rng)
    lane.set_faults()
