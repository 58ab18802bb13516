"""SIGKILL at random moments, and at the worst one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.workers import QUICK, READY_S, until

if TYPE_CHECKING:
    from faults.stage import Stage

KILLS = 52
_RATE_PER_S = 150.0
_BEHIND_THE_HEAD = 200


@scenario(number=1, name="sigkill", short=True)
def sigkill(stage: Stage) -> None:
    """Three workers under load; one to three at a time are killed at random moments, whatever they are doing."""
    kill_at_random(stage)


@scenario(number=1, name="sigkill-with-a-slow-head", partitions=1, short=True)
def sigkill_with_a_slow_head(stage: Stage) -> None:
    """The first post hangs in the engine while all behind it are answered; then the worker is killed."""
    kill_behind_a_slow_head(stage)


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
