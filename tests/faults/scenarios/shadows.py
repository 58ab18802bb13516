"""A candidate's shadow and its comparator, killed or hung beside live workers: these answer as if neither were there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from sluicegate.pipeline.shadow.states import CandidateState
from support.shadow import EQUAL, ShadowLane, digest_of
from support.workers import until

if TYPE_CHECKING:
    from faults.stage import Stage

S = CandidateState
_RATE_PER_S = 60.0
_SOON_S = 60.0
_BEHIND_S = 5.0


def _experiment(stage: Stage) -> ShadowLane:
    """Live workers that know of no candidate, and an experiment whose shadow has begun."""
    found = ShadowLane(stage.lane, stage.kafka, EQUAL, share=1.0)
    stage.kubelet(2, found.live).wait_ready()
    found.experiment.bring_to(S.SHADOW, share=1.0)
    return found


def _live_only(stage: Stage, experiment: ShadowLane) -> None:
    """No live verdict is the candidate's."""
    mine = digest_of(EQUAL)
    found = [
        one for one in stage.lane.read() if not one.is_dead_letter and one.body["engine"]["digest"] == mine
    ]
    stage.require(not found, f"{len(found)} live verdicts are the candidate's")
    stage.note("shadowed", verdicts=len(experiment.shadowed()))


def _keeps_up(stage: Stage) -> None:
    behind = stage.behind()
    stage.require(behind < _BEHIND_S * _RATE_PER_S, f"{behind} live posts wait")


@scenario(number=25, name="shadow-killed")
def killed(stage: Stage) -> None:
    """The shadow is killed again and again. Live workers keep up, and the shadow goes on where it was."""
    experiment = _experiment(stage)
    load = stage.load(_RATE_PER_S)
    for _ in range(3):
        shadow = experiment.start_shadow()
        shadow.wait_ready()
        time.sleep(stage.scaled(3))
        shadow.kill()
        time.sleep(stage.scaled(2))
        _keeps_up(stage)
    experiment.start_shadow().wait_ready()
    load.stop()
    stage.wait_settled()
    _live_only(stage, experiment)


@scenario(number=25, name="shadow-engine-hung")
def hung(stage: Stage) -> None:
    """The candidate's engine answers nothing. Live workers keep up; the candidate's posts fail, and are no agreement."""
    experiment = _experiment(stage)
    faults = stage.lane.folder / "candidate-faults.json"
    experiment.set_candidate(EQUAL, faults_file=str(faults))
    experiment.start_shadow(**{"engine.score_timeout_s": "2"}).wait_ready()
    load = stage.load(_RATE_PER_S)
    time.sleep(stage.scaled(3))
    faults.write_text(json.dumps({"hang": True}))
    time.sleep(stage.scaled(10))
    _keeps_up(stage)
    faults.write_text("{}")
    load.stop()
    stage.wait_settled()
    _live_only(stage, experiment)


@scenario(number=25, name="comparator-killed")
def comparator(stage: Stage) -> None:
    """The comparator is killed again and again. In the end each content of the sample is counted once."""
    experiment = _experiment(stage)
    experiment.start_shadow().wait_ready()
    load = stage.load(_RATE_PER_S)
    for _ in range(4):
        running = experiment.start_comparator()
        before = experiment.contents()
        until("some are counted", lambda known=before: experiment.contents() > known, within_s=_SOON_S)  # type: ignore[misc]
        running.kill()
    load.stop()
    stage.wait_settled()
    _live_only(stage, experiment)
    wanted = len(
        {(one.body["tenant"], one.body["post_id"], one.body["revision"]) for one in experiment.shadowed()}
    )
    experiment.start_comparator()
    until("all are counted", lambda: experiment.contents() >= wanted, within_s=_SOON_S)
    counted = experiment.contents()
    stage.require(counted == wanted, f"{counted} contents are counted, and {wanted} were judged")
