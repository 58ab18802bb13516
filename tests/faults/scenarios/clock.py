"""The wall clock jumps by hours and days, back and forth."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from faults.hampered import CLOCK
from faults.scenario import scenario
from support.workers import until

if TYPE_CHECKING:
    from pathlib import Path

    from faults.stage import Stage

_RATE_PER_S = 150.0
_JUMPS_H = (24.0, -24.0, 0.0, 1.0, -1.0, 24.0 * 365, -24.0 * 365)
_PAUSE_S = 2.0
_NEAR_H = 0.2


@scenario(number=11, name="clock-jumps")
def clock_jumps(stage: Stage) -> None:
    """Every worker's wall clock jumps; posts flow on, and judged_at follows the clock."""
    offset = stage.lane.folder / "clock-off-s"
    _set(offset, 0.0)
    kubelet = stage.kubelet(2, module="faults.hampered", environment={CLOCK: str(offset)})
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    stage.lane.wait_answers(100, within_s=30)
    jumps = _JUMPS_H[: max(2, stage.scaled(len(_JUMPS_H)))]
    for hours in jumps:
        stage.history.note("jump", hours=hours)
        _set(offset, hours * 3600)
        before = stage.lane.answers()
        time.sleep(_PAUSE_S)
        stage.lane.wait_answers(before + 100, within_s=30)
        kubelet.kill_one(stage.rng)
        until(
            "nobody stalls", lambda: all(one.get("/livez")[0] == 200 for one in kubelet.workers), within_s=30
        )
    load.stop()
    stage.wait_settled()
    kubelet.wait_ready()
    sums = [worker.metric("sluicegate_produce_to_verdict_seconds_sum") for worker in kubelet.workers]
    stage.require(all(seconds >= 0 for seconds in sums), f"a latency below zero: {sums}")
    stage.require(set(kubelet.exits) <= {-9}, f"workers ended by themselves: {dict(kubelet.exits)}")
    now = datetime.now(UTC)
    seen_h = {
        round((datetime.fromisoformat(record.body["judged_at"]) - now) / timedelta(hours=1), 1)
        for record in stage.lane.read()
    }
    for hours in {0.0, *jumps}:
        stage.require(
            any(abs(seen - hours) < _NEAR_H for seen in seen_h),
            f"no verdict was judged while the clock was off by {hours} h",
        )
    stage.note("jumped", jumps=len(jumps))


def _set(path: Path, off_s: float) -> None:
    part = path.with_suffix(".part")
    part.write_text(str(off_s))
    part.replace(path)  # it appears whole: a worker may be reading
