"""Posts that end the engine each time it is asked about them: how often they may, and what becomes of the others."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario
from faults.scenarios.engine import ServerThread, served

if TYPE_CHECKING:
    import random

    from faults.stage import Stage

POLICY = """
name: poison
version: "1"
tenants:
  careful: {rules: {failure_mode: block}}
"""
HASTY = """
name: poison
version: "1"
tenants:
  careful: {rules: {failure_mode: block, max_wait_seconds: 45}}
  hasty: {rules: {max_wait_seconds: 45}}
"""
MODES = {"default": "review", "careful": "block", "hasty": "review"}
MOST_DEATHS = 3
"""Of the engine, for each text that ends it."""
_EVERY = 150
_RATE_PER_S = 100.0
_SLOWLY_PER_S = 20.0
_LOADS_S = 15.0  # the session ends after 10


def mixed_post(number: int, rng: random.Random) -> dict[str, Any]:
    """One in so many is poison; its copy follows later, under another id."""
    place = number % _EVERY
    tenant = "careful" if number % 2 else "default"
    if place in (60, 110):
        return {"id": f"poison-{number}", "tenant": tenant, "text": f"poison {number // _EVERY}"}
    text = f"post number {number}: " + "word " * rng.randrange(20)
    return {"id": f"post-{number}", "tenant": tenant, "text": text}


def two_poisons(number: int, rng: random.Random) -> dict[str, Any]:
    """Two texts are poison. A copy of each follows once it is found, for whichever worker."""
    if number in (40, 60, 640, 660):
        return {"id": f"poison-{number}", "tenant": "careful", "text": f"poison {number % 600}"}
    text = f"post number {number}: " + "word " * rng.randrange(20)
    return {"id": f"post-{number}", "tenant": "default", "text": text}


@scenario(number=10, name="poison", short=True)
def poison(stage: Stage) -> None:
    """The engine crashes whenever it meets a poisonous post: each is found, its neighbours are judged."""
    lane = stage.lane
    counts = lane.folder / "counts.jsonl"
    lane.set_fake(call_overhead_s=0.05, counts_file=str(counts))
    lane.set_faults(die={"marker": "poison"})
    kubelet = stage.kubelet(1, lane.set_policy(POLICY))
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=mixed_post)
    time.sleep(max(5, stage.scaled(30)))
    load.stop()
    stage.wait_settled(120)
    deaths = json.loads(counts.read_text().splitlines()[-1])["deaths"]
    _require_found(stage, deaths, {"engine_crash"})
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of the worker")


@scenario(number=10, name="poison-in-process")
def poison_in_process(stage: Stage) -> None:
    """The engine is in each worker's process and ends it: what was in work outlives the worker, and the others hear of it."""
    _end_workers(stage, start_s=0.0)


@scenario(number=10, name="poison-while-engines-load")
def poison_while_engines_load(stage: Stage) -> None:
    """The same, and an engine loads for longer than its worker's place in the group lasts: others hear of it before."""
    _end_workers(stage, start_s=_LOADS_S)


def _end_workers(stage: Stage, *, start_s: float) -> None:
    lane = stage.lane
    lane.set_fake(call_overhead_s=0.05, start_s=start_s)
    lane.set_faults(kill={"marker": "poison"})
    settings = lane.set_policy(POLICY) | {
        "engine.in_work_folder": str(lane.folder / "in-work"),
        # As with the default of 20 s: a worker is back, and has told of its death, before another gets its partitions.
        "kafka.session_timeout_s": "10",
    }
    kubelet = stage.kubelet(2, settings)
    kubelet.wait_ready()
    load = stage.load(_SLOWLY_PER_S, make=two_poisons)
    time.sleep(max(8, stage.scaled(36)))
    load.stop()
    stage.wait_settled(240)
    _require_found(stage, kubelet.exits[-9], {"engine_crash"})
    stage.require(set(kubelet.exits) <= {-9}, f"exit codes {dict(kubelet.exits)}")


@scenario(number=10, name="poison-on-a-shared-server")
def poison_on_a_shared_server(stage: Stage) -> None:
    """Two workers share a server that tells its generation: one finds the poison, and no neighbour is condemned."""
    with ServerThread(tells=True) as server:
        server.crash_at("poison")
        _share(stage, server, POLICY, {"engine_crash"})


@scenario(number=10, name="poison-without-a-generation")
def poison_without_a_generation(stage: Stage) -> None:
    """Two workers share a server that tells nothing: nobody is condemned, and the poison waits as its tenant chose."""
    with ServerThread() as server:
        server.crash_at("poison")
        _share(stage, server, HASTY, {"engine_unavailable"})


def _share(stage: Stage, server: ServerThread, policy: str, codes: set[str]) -> None:
    kubelet = stage.kubelet(2, served(stage, server) | stage.lane.set_policy(policy))
    kubelet.wait_ready()
    load = stage.load(_SLOWLY_PER_S, make=two_poisons)
    time.sleep(max(8, stage.scaled(36)))
    load.stop()
    stage.wait_settled(240)
    _require_found(stage, server.crashes, codes)
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of a worker")


def _require_found(stage: Stage, deaths: int, codes: set[str]) -> None:
    """Every poisonous post failed as it should, no other did, and the engine died so often at most."""
    verdicts = [record.body for record in stage.lane.read() if not record.is_dead_letter]
    # A stub draws its scores: now and then less than half of them falls on the labels.
    failures = [body for body in verdicts if body["failure"] and body["failure"]["code"] != "labels_missing"]
    failed = {body["post_id"] for body in failures}
    poisonous = {one.post_id for one in stage.sent if (one.post_id or "").startswith("poison-")}
    texts = len(poisonous) - len(poisonous) // 2  # each has one copy, but the last may lack it
    stage.note("answered", poisonous=len(poisonous), texts=texts, failed=len(failed), deaths=deaths)
    stage.require(poisonous, "no poisonous post was sent")
    stage.require(not poisonous - failed, "a poisonous post was judged")
    stage.require(not failed - poisonous, f"{len(failed - poisonous)} neighbours were not judged")
    stage.require(0 < deaths <= MOST_DEATHS * texts, f"{deaths} deaths of the engine by {texts} texts")
    for body in failures:
        failure, mode = body["failure"], MODES[body["tenant"]]
        stage.require(failure["code"] in codes, f"failure code {failure['code']} instead of {codes}")
        stage.require(failure["mode"] == mode, f"failure mode {failure['mode']} instead of {mode}")
        stage.require(body["action"] == mode, "the failure mode is not the action")
