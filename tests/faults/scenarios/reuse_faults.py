"""Reuse of near duplicates while the engine fails, and while policies, adapters and workers change under an index of findings."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import orjson

from faults.floods import ON, RULES, WORDS, check_truth, copies, flood_post, text_of, truth_of
from faults.scenario import scenario
from faults.scenarios.reuse import SOON_S, send_copies
from sluicegate.pipeline.policy import Policy
from support.workers import until

if TYPE_CHECKING:
    from pathlib import Path

    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from sluicegate.schemas import Severity, Verdict
    from support.workers import WorkerProcess

_MARKER, _LEAD_S = "flood fault", 5.0
_TURNED: dict[str, Severity] = {
    WORDS["safe"]: "unsafe",
    WORDS["controversial"]: "safe",
    WORDS["unsafe"]: "safe",
}
"""What another adapter finds in the same words."""
_FAULTS = {
    "error": "engine_error",
    "hang": "timed_out",
    "cut": "engine_error",
    "garble": "unparsable",
    "empty": "empty_completion",
    "miscount": "unparsable",
    "labels_missing": "labels_missing",
}
_VERSIONS, _RATE_PER_S, _KNOWN = 8, 60.0, 30


@scenario(number=18, name="reuse-engine-faults")
def engine_faults(stage: Stage) -> None:
    """The engine fails on a text whose copies wait: all of them fail or are judged, and nothing of it is reused."""
    lane = stage.lane
    lane.set_fake(rules=RULES)
    settings = {"engine.score_timeout_s": "8", "engine.explain_timeout_s": "8", "micro_batch.in_flight": "8"}
    kubelet = stage.kubelet(1, ON | settings)
    kubelet.wait_ready(within_s=SOON_S)
    (worker,) = kubelet.workers
    wanted = list(_FAULTS)[: stage.scaled(len(_FAULTS))]
    waited = sum(_fail(stage, kubelet, worker, fault) for fault in wanted)
    waited += _leave(stage, kubelet, worker)
    stage.require(waited, "copies waited in no fault")
    failures = Counter(
        (one.post_id.split("-")[1], one.failure.code) for one in check_truth(stage) if one.failure is not None
    )
    floods = {f"fault {fault}": _FAULTS[fault] for fault in wanted}
    stage.require(
        {flood for flood, _code in failures} == set(floods), f"failures of other texts, too: {failures}"
    )
    stage.require(
        all(failures[flood, code] for flood, code in floods.items()), f"a fault made no failure: {failures}"
    )
    stage.note("failed", failures=sum(failures.values()), while_copies_waited=waited)
    stage.require(kubelet.restarts == 0, "the worker was restarted")


def _fail(stage: Stage, kubelet: Kubelet, worker: WorkerProcess, fault: str) -> bool:
    """Let the engine fail on texts whose copies wait; once it is well, more copies are judged."""
    before = worker.metric("sluicegate_failures_total")
    stage.lane.set_faults(slow={"marker": _MARKER, "delay_s": _LEAD_S}, **{fault: {"marker": _MARKER}})
    waited = send_copies(stage, kubelet, f"fault {fault}")
    until(fault, lambda: worker.metric("sluicegate_failures_total") > before, within_s=SOON_S)
    stage.lane.set_faults()
    stage.wait_settled(SOON_S)
    failed = worker.metric("sluicegate_failures_total")
    more = copies(f"fault {fault}", _KNOWN, stage.rng, first=1000)
    stage.sent += stage.lane.send(more)
    stage.wait_settled(SOON_S)
    stage.require(
        worker.metric("sluicegate_failures_total") == failed, f"{fault}: a failure outlived its fault"
    )
    return waited


def _leave(stage: Stage, kubelet: Kubelet, worker: WorkerProcess) -> bool:
    """Let the engine go away with the first ones in work: their copies are held with them, and none fails."""
    stage.lane.set_faults(slow={"marker": _MARKER, "delay_s": _LEAD_S})
    waited = send_copies(stage, kubelet, "fault away")
    stage.lane.set_faults(die=True)
    until("the stream holds, or it was too late", lambda: _holds_or_settled(stage, worker), within_s=SOON_S)
    stage.lane.set_faults()
    stage.wait_settled(SOON_S)
    return waited


def _holds_or_settled(stage: Stage, worker: WorkerProcess) -> bool:
    return bool(worker.metric("sluicegate_hold")) or stage.behind() == 0


@scenario(number=18, name="reuse-policy-and-adapter-change")
def policy_and_adapter(stage: Stage) -> None:
    """An index full of findings, while the policy, the adapter that it names, the engine and the worker come and go."""
    stage.expect(one_action=False)  # a post that two policies decided may have both actions
    lane = stage.lane
    lane.set_fake(rules=RULES)
    turned = lane.folder / "turned.json"
    turned.write_bytes(
        orjson.dumps({"rules": _TURNED, "seed": 1, "faults_file": str(lane.folder / "faults.json")})
    )
    path = lane.folder / "policy.yaml"
    _write(path, 0)
    adapters = {"engine.adapters.turned.fake_profile": str(turned)}
    kubelet = stage.kubelet(1, ON | adapters | {"policy.path": str(path)})
    kubelet.wait_ready(within_s=SOON_S)
    load = stage.load(_RATE_PER_S, make=flood_post)
    versions = stage.scaled(_VERSIONS)
    for version in range(1, versions + 1):
        time.sleep(stage.rng.uniform(1.0, 3.0))
        if version == versions // 2 + 1:
            kubelet.kill_one(stage.rng)
            kubelet.wait_ready(within_s=SOON_S)
        _write(path, version)
        _wait_version(kubelet, version)
    load.stop()
    stage.wait_settled(SOON_S)
    _answer_without_engine(stage, kubelet)
    stage.wait_settled(SOON_S)
    _check_policies(stage, [Policy.from_bytes(document(one).encode(), "") for one in range(versions + 1)])


def document(version: int) -> str:
    """Every second policy allows what is controversial; two after two name the other adapter."""
    bars = "{unsafe: null, risk: null}" if version % 2 else "{unsafe: 0.4, risk: 0.6}"
    adapter = "turned" if version // 2 % 2 else "null"
    rules = f"review_at: {bars}, block_at: {{unsafe: 0.8}}, adapter: {adapter}"
    return f'name: changing\nversion: "{version}"\nrules: {{{rules}}}\n'


def _write(path: Path, version: int) -> None:
    part = path.with_suffix(".part")
    part.write_text(document(version))
    part.replace(path)


def _wait_version(kubelet: Kubelet, version: int) -> None:
    def in_force() -> bool:
        return all(f'version="{version}"' in worker.get("/metrics")[1] for worker in kubelet.workers)

    until(f"policy {version} is in force", in_force, within_s=SOON_S)


def _answer_without_engine(stage: Stage, kubelet: Kubelet) -> None:
    """Copies of what is known are answered while the engine is away, and what is new is held."""
    (worker,) = kubelet.workers
    known = [{"id": f"{one}-known-first", "text": text_of("known", one)} for one in WORDS]
    stage.sent += stage.lane.send(known)
    stage.wait_settled(SOON_S)
    stage.lane.set_faults(die=True)
    stage.sent += stage.lane.send([{"id": "safe-new", "text": text_of("new", "safe")}])
    until("the stream holds", lambda: worker.metric("sluicegate_hold"), within_s=SOON_S)
    answered = stage.lane.answers()
    stage.sent += stage.lane.send(copies("known", _KNOWN, stage.rng))
    stage.lane.wait_answers(answered + _KNOWN, within_s=SOON_S)
    stage.note("away", answered_while_away=stage.lane.answers() - answered)
    stage.lane.set_faults()


def _check_policies(stage: Stage, versions: list[Policy]) -> None:
    """Demand of every verdict the finding of its adapter's engine, and the decision of its policy."""
    policies = {one.digest: one for one in versions}

    def wanted(verdict: Verdict) -> str | None:
        policy = policies.get(verdict.policy.digest)
        if policy is None or verdict.scores is None:
            return None
        return policy.decide(verdict, verdict.scores, verdict).action

    found = check_truth(stage, wanted)
    rules = {None: RULES, "turned": _TURNED}
    strange = sum(one.severity != rules[one.engine.adapter][WORDS[truth_of(one.post_id)]] for one in found)
    stage.require(not strange, f"{strange} verdicts carry what another adapter found")
    reused = Counter(one.policy.version for one in found if one.assessed_by == "near_duplicate")
    stage.note("changed", policies=len({one.policy.version for one in found}), reused_in=len(reused))
    stage.require(len(reused) > len(versions) // 2, f"reused under {len(reused)} of {len(versions)} policies")
