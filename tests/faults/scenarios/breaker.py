"""The block-volume breaker under kills: what tripped stays tripped, and nothing is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.workers import until

if TYPE_CHECKING:
    from faults.kubelet import Kubelet
    from faults.stage import Stage

_COUNT = 50
_POLICY = f"""
name: hasty
version: "1"
rules:
  block_at: {{unsafe: 0.0}}  # everything is blocked
  review_at: {{unsafe: null, risk: null}}
  block_breaker: {{share: null, count: {_COUNT}, interval_seconds: 3600}}
"""
_RATE_PER_S = 150.0
_SOON_S = 60.0
_REPLICAS = 2


@scenario(number=17, name="breaker-under-kills")
def killed(stage: Stage) -> None:
    """Workers die around the moment in which they trip; a reset from another process begins the next round."""
    stage.expect(one_action=False)  # a block before the trip may come again as a review
    lane = stage.lane
    kubelet = stage.kubelet(_REPLICAS, lane.set_policy(_POLICY))
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    rounds = stage.scaled(5)
    for number in range(rounds):
        wait_open(stage, kubelet, generation=number)
        for _ in range(_REPLICAS):
            kubelet.kill_one(stage.rng)
        kubelet.wait_ready(within_s=_SOON_S)
        wait_open(stage, kubelet, generation=number)
        stage.history.note("kept over the kills", round=number)
        if number + 1 < rounds:
            done = stage.lane.command("breaker", "reset", "--all", "--reason", "the next round")
            stage.require(done.returncode == 0, f"the reset failed: {done.stderr}")
            stage.history.note("reset", round=number)
            kubelet.kill_one(stage.rng)  # before the next trip, before it is told, or after
    load.stop()
    stage.wait_settled()
    verdicts = [record.body for record in lane.read() if not record.is_dead_letter]
    withheld = [one for one in verdicts if one["breaker"]]
    stage.note("withheld", withheld=len(withheld), rounds=rounds)
    stage.require(withheld, "no block was withheld")
    stage.require(
        all(one["action"] == "review" and one["breaker"]["action"] == "block" for one in withheld),
        "a withheld block is no review",
    )
    stage.require(
        {one["action"] for one in verdicts} <= {"block", "review"}, "a breaker made an allow of something"
    )


def wait_open(stage: Stage, kubelet: Kubelet, *, generation: int) -> None:
    """Wait until the control topic tells of this turn's trip, and every replica knows of an open breaker."""

    def told() -> bool:
        lines = stage.lane.command("breaker", "status", "--json").stdout.splitlines()
        known = [(one["state"], one["generation"]) for one in map(json.loads, lines)]
        return known == [("open", generation)]

    def known() -> bool:
        bodies = [worker.get("/readyz")[1] for worker in kubelet.workers]
        lists = [json.loads(body).get("breakers_open") for body in bodies if body]
        return lists == [["default"]] * _REPLICAS

    until(f"trip {generation} is told", told, within_s=_SOON_S)
    until(f"every worker knows of trip {generation}", known, within_s=_SOON_S)
    stage.history.note("open", generation=generation)
