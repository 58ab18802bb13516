"""SIGTERM: a worker leaves within its budget, answers what it can and hands on the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from faults.scenarios.members import HASTY
from support.workers import LEAVE_S, READY_S, until

if TYPE_CHECKING:
    from faults.stage import Stage
    from support.workers import WorkerProcess


@scenario(number=2, name="sigterm", short=True)
def sigterm(stage: Stage) -> None:
    """Two workers under load are told to stop in turn, each replaced at once: nothing is answered twice."""
    stage.expect(may_repeat=False)
    stage.lane.set_fake(call_overhead_s=0.2)
    # No member may be thrown out for being slow on a busy machine: that would be another fault.
    kubelet = stage.kubelet(2, {"kafka.session_timeout_s": "10"})
    kubelet.wait_ready()
    load = stage.load(200)
    terms = stage.scaled(8)
    for _ in range(terms):
        time.sleep(stage.rng.uniform(1.0, 4.0))
        code = kubelet.terminate_one(stage.rng, within_s=LEAVE_S)
        stage.require(code == 0, f"a worker told to stop exited with {code}")
        kubelet.wait_ready()
    load.stop()
    stage.note("told to stop", sigterms=terms)
    stage.require(set(kubelet.exits) <= {0}, f"exit codes {dict(kubelet.exits)}")


@scenario(number=2, name="sigterm-in-a-hold")
def sigterm_in_a_hold(stage: Stage) -> None:
    """The engine is away, the window is full of held posts, the worker is told to stop; its successor answers them.

    A successor joins without the engine, since its policy has a tenant who waits a second only. No post is that tenant's.
    """
    stage.expect(may_repeat=False)
    kubelet = stage.kubelet(1, stage.lane.set_policy(HASTY))
    kubelet.wait_ready()
    stage.lane.set_faults(die=True)
    for _ in range(stage.scaled(3)):
        _hold_more(stage, kubelet.workers[0], stage.scaled(1000))
        code = kubelet.terminate_one(stage.rng, within_s=LEAVE_S)
        stage.require(code == 0, f"a worker told to stop exited with {code}")
        kubelet.wait_joined()
    stage.require(stage.lane.answers() == 0, "an engine that is away answered")
    stage.note("held", most_held=len(stage.sent))
    stage.lane.set_faults()


def _hold_more(stage: Stage, worker: WorkerProcess, posts: int) -> None:
    first, last = len(stage.sent), len(stage.sent) + posts
    stage.sent += stage.lane.send(
        {"id": f"post-{number}", "text": f"held post {number}"} for number in range(first, last)
    )
    until("every post is held", lambda: worker.metric("sluicegate_window_posts") == last, within_s=READY_S)
    until("the hold is declared", lambda: worker.metric("sluicegate_hold"), within_s=READY_S)
