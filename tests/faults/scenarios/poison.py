"""Posts that end the engine each time it is asked about them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario

if TYPE_CHECKING:
    import random

    from faults.stage import Stage

POLICY = """
name: poison
version: "1"
tenants:
  careful: {rules: {failure_mode: block}}
"""
MODES = {"default": "review", "careful": "block"}
_EVERY = 150
_RATE_PER_S = 100.0


def mixed_post(number: int, rng: random.Random) -> dict[str, Any]:
    """One in so many is poison; its copy follows later, under another id."""
    place = number % _EVERY
    tenant = "careful" if number % 2 else "default"
    if place in (60, 110):
        return {"id": f"poison-{number}", "tenant": tenant, "text": f"poison {number // _EVERY}"}
    text = f"post number {number}: " + "word " * rng.randrange(20)
    return {"id": f"post-{number}", "tenant": tenant, "text": text}


@scenario(number=10, name="poison", short=True)
def poison(stage: Stage) -> None:
    """The engine crashes whenever it meets a poisonous post: each is found, its neighbours are judged."""
    lane = stage.lane
    lane.set_fake(call_overhead_s=0.05)
    lane.set_faults(die={"marker": "poison"})
    kubelet = stage.kubelet(1, lane.set_policy(POLICY))
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=mixed_post)
    time.sleep(max(5, stage.scaled(30)))
    load.stop()
    stage.wait_settled(120)
    verdicts = [record.body for record in lane.read() if not record.is_dead_letter]
    failed = {body["post_id"] for body in verdicts if body["failure"]}
    poisonous = {one.post_id for one in stage.sent if (one.post_id or "").startswith("poison-")}
    stage.note("answered", poisonous=len(poisonous), engine_crash=len(failed))
    stage.require(poisonous, "no poisonous post was sent")
    stage.require(not poisonous - failed, "a poisonous post was judged")
    stage.require(not failed - poisonous, f"{len(failed - poisonous)} neighbours were not judged")
    for body in verdicts:
        if body["failure"]:
            right = {"code": "engine_crash", "mode": MODES[body["tenant"]]}
            stage.require(body["failure"] == right, f"failure {body['failure']} instead of {right}")
            stage.require(body["action"] == right["mode"], "the failure mode is not the action")
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of the worker")
