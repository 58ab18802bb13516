"""Workers that cannot write: no file may grow, or their output goes to a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.hampered import FILE_BYTES, OUTPUT
from faults.scenario import scenario

if TYPE_CHECKING:
    from faults.kubelet import Kubelet
    from faults.stage import Stage

_RATE_PER_S = 150.0
_MODULE = "faults.hampered"
_LOUD = {"log.level": "debug"}


def _live_through(stage: Stage, kubelet: Kubelet, posts: int) -> None:
    """Load, a worker that leaves in good order and one that is killed; then demand that no other ended."""
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    lane = stage.lane
    lane.wait_answers(posts // 3, within_s=60)
    code = kubelet.terminate_one(stage.rng)
    stage.require(code == 0, f"a worker that was told to leave ended with {code}")
    kubelet.kill_one(stage.rng)
    lane.wait_answers(posts, within_s=60)
    kubelet.wait_ready()
    load.stop()
    stage.wait_settled()
    dropped = round(sum(worker.metric("sluicegate_log_lines_dropped_total") for worker in kubelet.workers))
    stage.note("dropped", lines_dropped=dropped, restarts=kubelet.restarts)
    stage.require(dropped, "no line was dropped: the fault was not there")
    stage.require(kubelet.restarts == 2, f"workers ended by themselves: exit codes {dict(kubelet.exits)}")


@scenario(number=9, name="no-file-may-grow", short=True)
def no_file_may_grow(stage: Stage) -> None:
    """A limit of no bytes at all on every file: neither logs nor temporary files can be written."""
    kubelet = stage.kubelet(2, _LOUD, module=_MODULE, environment={FILE_BYTES: "0"})
    _live_through(stage, kubelet, stage.scaled(3000))


@scenario(number=9, name="file-limit-amid-a-line")
def file_limit_amid_a_line(stage: Stage) -> None:
    """A limit that the log meets while the worker runs, in the middle of a line."""
    limit_bytes = 3_500 + stage.rng.randrange(500)  # a start alone writes more
    kubelet = stage.kubelet(2, _LOUD, module=_MODULE, environment={FILE_BYTES: str(limit_bytes)})
    _live_through(stage, kubelet, stage.scaled(3000))


@scenario(number=9, name="output-on-a-full-disk")
def output_on_a_full_disk(stage: Stage) -> None:
    """Standard output and error are /dev/full: each write says that the disk is full."""
    kubelet = stage.kubelet(2, _LOUD, module=_MODULE, environment={OUTPUT: "/dev/full"})
    _live_through(stage, kubelet, stage.scaled(3000))
