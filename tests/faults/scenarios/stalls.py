"""A consumer that stalls in silence: the liveness probe finds it, and its successor goes on."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.workers import until

if TYPE_CHECKING:
    from faults.stage import Stage

# The shortest time after which a stall is told: the margin, the two calls' limits and a commit.
_QUICK_STALL = {"engine.score_timeout_s": "1", "engine.explain_timeout_s": "1"}
_TOLD_S = 60.0


@scenario(number=13, name="silent-stall")
def silent_stall(stage: Stage) -> None:
    """The fetch of a worker dies without a word; /livez fails in time, and only then is it killed."""
    kubelet = stage.kubelet(1, _QUICK_STALL, module="support.faulty_clients")
    kubelet.wait_ready()
    load = stage.load(20)
    until("answers", lambda: stage.lane.answers() >= 20, within_s=30)
    (worker,) = kubelet.workers
    stage.require(worker.get("/livez")[0] == 200, "a worker at work is called dead")
    os.kill(worker.pid, signal.SIGUSR1)
    began = time.monotonic()
    stage.history.note("the fetch dies", worker=worker.folder.name)
    body = until(
        "/livez fails",
        lambda: (found := worker.get("/livez"))[0] == 503 and found[1],
        within_s=_TOLD_S,
    )
    stage.note("told", told_after_s=round(time.monotonic() - began, 1))
    stage.require(stage.lane.posts in body, f"/livez does not name the partition: {body}")
    stage.require(kubelet.restarts == 0, "the worker ended by itself")
    worker.kill()  # as the kubelet would
    kubelet.wait_ready()
    load.stop()
