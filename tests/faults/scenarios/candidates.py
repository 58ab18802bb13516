"""A candidate that acts while workers come and go, and while the topics that would tell of its rollback are away."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from faults.administrator import delete_topics
from faults.scenario import scenario
from sluicegate.pipeline.shadow.states import CandidateState
from support.candidates import Experiment
from support.workers import until

if TYPE_CHECKING:
    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from support.workers import WorkerProcess

S = CandidateState
_INCUMBENT = """
name: old
version: "1"
rules: {canary: true, block_at: {unsafe: null}, review_at: {unsafe: null, risk: null}, explain_at: 1.0}
"""
_CANDIDATE = """
name: new
version: "1"
rules: {adapter: next, block_at: {unsafe: 0.0}, block_breaker: {share: null}}
"""
_PAIRS = {("old", None, "allow"), ("new", "next", "block")}
_RATE_PER_S = 60.0
_SOON_S, _HEARD_S = 60.0, 10.0
_SILENCE_S = 30.0


def _experiment(stage: Stage) -> tuple[Experiment, Kubelet]:
    """An incumbent that allows all, a candidate with an engine of its own that blocks all, and workers with both."""
    lane = stage.lane
    stage.expect(one_action=False)  # a post that is judged again may have the other judge
    found = Experiment(lane)
    stage.kafka.create_topic(found.topic, 1)
    found.set_policies(_INCUMBENT, _CANDIDATE)
    lane.set_fake()
    profile = {"rules": {"post": "unsafe"}, "faults_file": str(lane.folder / "next-faults.json")}
    (lane.folder / "next.json").write_text(json.dumps(profile))
    done = found.command("register", "--reason", "trained anew", by="anna")
    if done.returncode:
        raise AssertionError(done.stderr)
    found.bring_to(S.CERTIFIED)
    kubelet = stage.kubelet(3, found.settings | found.engines)
    kubelet.wait_ready()
    return found, kubelet


def _told(worker: WorkerProcess) -> str:
    body = worker.get("/readyz")[1]
    return str(json.loads(body).get("candidate")) if body else ""


def _wait_told(kubelet: Kubelet, said: str, within_s: float = _SOON_S) -> None:
    until(
        f"every worker says {said}",
        lambda: all(said in _told(one) for one in kubelet.workers),
        within_s=within_s,
    )


def _verdicts(stage: Stage) -> list[dict[str, Any]]:
    """All verdicts; each must be one judge's in all of its parts."""
    found = [record.body for record in stage.lane.read() if not record.is_dead_letter]
    torn = [
        one for one in found if (one["policy"]["name"], one["engine"]["adapter"], one["action"]) not in _PAIRS
    ]
    stage.require(not torn, f"{len(torn)} verdicts are half of one judge and half of the other")
    return found


def _by(found: list[dict[str, Any]], since: datetime) -> set[str]:
    return {one["policy"]["name"] for one in found if datetime.fromisoformat(one["judged_at"]) > since}


def _effect_s(found: list[dict[str, Any]], since: datetime) -> float:
    """For how long after a moment the candidate still judged."""
    late = [datetime.fromisoformat(one["judged_at"]) for one in found if one["policy"]["name"] == "new"]
    return max(0.0, (max(late) - since).total_seconds()) if late else 0.0


@scenario(number=24, name="promoted-during-a-rebalance")
def promoted(stage: Stage) -> None:
    """Workers are killed and drained while a canary begins, grows, is promoted, and is rolled back."""
    experiment, kubelet = _experiment(stage)
    load = stage.load(_RATE_PER_S)
    for state, share in ((S.CANARY, 0.3), (S.CANARY, 0.6), (S.PROMOTED, None), (S.ROLLED_BACK, None)):
        time.sleep(stage.scaled(4))
        kubelet.kill_one(stage.rng)
        said = experiment.say(state, share=share).fact
        kubelet.kill_one(stage.rng)
        stage.history.note(state.value)
        _wait_told(kubelet, state.value)
        kubelet.wait_ready(within_s=_SOON_S)
        told_at = datetime.now(UTC)
        time.sleep(stage.scaled(5))
        seen = _by(_verdicts(stage), told_at)
        wanted = {S.CANARY: {"old", "new"}, S.PROMOTED: {"new"}, S.ROLLED_BACK: {"old"}}[state]
        stage.require(seen == wanted, f"after {state} was heard, verdicts came from {seen}")
    load.stop()
    stage.wait_settled()
    found = _verdicts(stage)
    stage.note("rolled back", effect_s=round(_effect_s(found, said.at), 1), restarts=kubelet.restarts)
    stage.require(_effect_s(found, said.at) < _HEARD_S, "the rollback took too long")


@scenario(number=24, name="candidate-engine-away")
def engine_away(stage: Stage) -> None:
    """The candidate's engine is away in the middle of a canary: the incumbent answers its posts, and nobody waits for it."""
    experiment, kubelet = _experiment(stage)
    experiment.say(S.CANARY, share=0.5)
    _wait_told(kubelet, "canary; it acts")
    load = stage.load(_RATE_PER_S)
    time.sleep(stage.scaled(3))
    faults = stage.lane.folder / "next-faults.json"
    faults.write_text(json.dumps({"die": True}))
    _wait_told(kubelet, "or is away")
    time.sleep(stage.scaled(5))
    behind = stage.behind()
    stage.require(behind < 10 * _RATE_PER_S, f"{behind} posts wait though the incumbent is at work")
    faults.write_text("{}")
    _wait_told(kubelet, "canary; it acts", within_s=2 * _SOON_S)
    time.sleep(stage.scaled(3))
    load.stop()
    stage.wait_settled()
    failed = sum(1 for one in _verdicts(stage) if one["failure"])
    stage.note("engine away", behind=behind, failed=failed)
    stage.require(failed == 0, f"{failed} posts failed though the incumbent is at work")


@scenario(number=24, name="rolled-back-without-the-control-topic")
def without_control(stage: Stage) -> None:
    """The control topic goes in the middle of a canary. The history alone tells of the rollback."""
    experiment, kubelet = _experiment(stage)
    experiment.say(S.CANARY, share=0.5)
    _wait_told(kubelet, "canary; it acts")
    load = stage.load(_RATE_PER_S)
    time.sleep(stage.scaled(3))
    delete_topics(stage.lane.bootstrap, [f"{stage.lane.prefix}.control"])
    time.sleep(stage.scaled(3))
    before = datetime.now(UTC)
    done = experiment.command("rollback", "--reason", "the control topic is away", by="anna")
    stage.require(done.returncode == 0, f"the rollback failed: {done.stderr}")
    stage.require(
        "control does not have it" in done.stderr, f"nothing is said of the control topic: {done.stderr}"
    )
    _wait_told(kubelet, "rolled_back; the incumbent acts")
    time.sleep(stage.scaled(4))
    load.stop()
    stage.wait_settled()
    found, said = _verdicts(stage), experiment.ledger("anna").read().head
    stage.require(said is not None and said.at > before, "the history does not have the rollback")
    effect_s = _effect_s(found, said.at if said is not None else before)
    stage.note("rolled back", effect_s=round(effect_s, 1))
    stage.require(effect_s < _HEARD_S, "the rollback took too long")


@scenario(number=24, name="rolled-back-without-the-history")
def without_history(stage: Stage) -> None:
    """The history goes in the middle of a promotion. The control topic tells of the rollback; without it, silence does."""
    experiment, kubelet = _experiment(stage)
    experiment.bring_to(S.PROMOTED)
    _wait_told(kubelet, "promoted; it acts")
    load = stage.load(_RATE_PER_S)
    time.sleep(stage.scaled(3))
    delete_topics(stage.lane.bootstrap, [experiment.topic])
    gone_at = datetime.now(UTC)
    _wait_told(kubelet, "the incumbent acts: facts do not reach this worker")
    silent_s = _effect_s(_verdicts(stage), gone_at)
    stage.require(silent_s < _SILENCE_S + _HEARD_S, f"unheard, the candidate acted for {silent_s:.0f} s more")
    done = experiment.command("rollback", "--reason", "the history is away", by="anna")
    stage.require(done.returncode == 0, f"the rollback failed: {done.stderr}")
    _wait_told(kubelet, "rolled_back")
    # The topic comes again, empty: nothing of what it says may bring the candidate back.
    stage.kafka.create_topic(experiment.topic, 1)
    time.sleep(stage.scaled(8))
    _wait_told(kubelet, "rolled_back; the incumbent acts")
    load.stop()
    stage.wait_settled()
    stage.note("silent", acted_s=round(silent_s, 1))
    _verdicts(stage)
