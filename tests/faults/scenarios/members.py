"""Members that join and leave while posts are held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario
from support.workers import QUICK

if TYPE_CHECKING:
    import random

    from faults.stage import Stage

_SLOW_S = float(QUICK["drain.finish_s"]) + 1  # a drain gives such a post back, and its answer comes too late
_SLOW_ONE_IN = 300
_RATE_PER_S = 100.0


@scenario(number=3, name="members-with-slow-heads", short=True)
def members_with_slow_heads(stage: Stage) -> None:
    """Some posts take longer than a drain waits: they are given back, and answered by those who lost them too late."""
    stage.lane.set_faults(slow={"marker": "slow", "delay_s": _SLOW_S})
    _come_and_go(stage)


@scenario(number=3, name="members-in-a-hold")
def members_in_a_hold(stage: Stage) -> None:
    """The engine is away: every post taken is held, handed over and held again; then the engine comes back."""
    stage.lane.set_faults(die=True)
    _come_and_go(stage)
    stage.require(stage.lane.answers() == 0, "an engine that is away answered")
    stage.lane.set_faults()


def _come_and_go(stage: Stage) -> None:
    kubelet = stage.kubelet(2, {"micro_batch.in_flight": "8"})
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=_sometimes_slow)
    members, changes = 2, stage.scaled(12)
    for _ in range(changes):
        time.sleep(stage.rng.uniform(1.0, 6.0))
        members = stage.rng.choice([count for count in (1, 2, 3) if count != members])
        kubelet.scale(members)
    kubelet.scale(2)
    kubelet.wait_ready()
    load.stop()
    stage.note("came and went", changes=changes)
    # A worker may be told to stop before it listens: then the signal itself ends it.
    stage.require(set(kubelet.exits) <= {0, -15}, f"exit codes {dict(kubelet.exits)}")
    alive = [worker.get("/livez")[0] for worker in kubelet.workers]
    stage.require(set(alive) == {200}, f"/livez answers {alive}")


def _sometimes_slow(number: int, rng: random.Random) -> dict[str, Any]:
    speed = "slow" if rng.randrange(_SLOW_ONE_IN) == 0 else "plain"
    return {"id": f"post-{number}", "text": f"a {speed} post, number {number}"}
