"""Engines that are away, hang, are slow, or answer nonsense: the fake one by its switches, a server over HTTP by its own."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from contract.stub_server import SLOW_S, StubServer
from contract.wires import CONTEXT_TOKENS
from faults.scenario import scenario
from support.kafka import free_ports
from support.small_bundle import small_manifest, write_small_bundle
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from support.workers import WorkerProcess

_WITHIN_S = 60.0
_MUTE_CALLS, _IN_FLIGHT, _MICRO_BATCH = 5, 3, 64  # the settings' defaults, and what the engines say
_WELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault, and what it makes of the posts that meet it."""

    name: str
    fault: str
    code: str | None = None
    """The failure code that some posts get; None if the stream must hold instead, and no post fail."""
    holds: bool = False
    """True if the circuit must open, after a bounded number of failures."""


@scenario(number=7, name="engine-faults", short=True)
def engine_faults(stage: Stage) -> None:
    """The fake engine with each of its faults in turn, under load, in one worker that never restarts."""
    stage.lane.set_fake(call_overhead_s=0.1)
    settings = {"engine.score_timeout_s": "1", "engine.explain_timeout_s": "2"}
    phases = (
        Phase("dies in mid-batch", "die"),
        Phase("hangs", "hang", "timed_out", holds=True),
        Phase("fails on every post", "error", "engine_error"),
        Phase("half an answer", "cut", "engine_error"),
        Phase("empty completion", "empty", "empty_completion"),
        Phase("garbage", "garble", "unparsable"),
        Phase("wrong count", "miscount", "unparsable"),
        Phase("label tokens missing", "labels_missing", "labels_missing"),
    )
    _play(
        stage,
        settings,
        phases,
        on=lambda fault: stage.lane.set_faults(**{fault: True}),
        off=stage.lane.set_faults,
    )


@scenario(number=7, name="engine-over-http")
def engine_over_http(stage: Stage) -> None:
    """A completions server over HTTP that refuses, breaks off, answers 500 or nonsense, hangs."""
    phases = (
        Phase("connection refused", "refuse"),
        Phase("connection reset", "die"),
        Phase("hangs", "hang", "timed_out", holds=True),
        Phase("HTTP 500", "error", "engine_error", holds=True),
        Phase("half an answer", "cut", "engine_error", holds=True),
        Phase("empty completion", "empty", "empty_completion"),
        Phase("garbage", "garble", "unparsable"),
        Phase("wrong count", "miscount", "unparsable"),
        Phase("label tokens missing", "labels_missing", "labels_missing"),
    )
    with ServerThread() as server:
        settings = served(stage, server) | {"engine.score_timeout_s": "2", "engine.explain_timeout_s": "3"}
        _play(stage, settings, phases, on=server.break_, off=server.mend)


@scenario(number=7, name="engine-slow")
def engine_slow(stage: Stage) -> None:
    """Five seconds for every request: everything is judged, late."""
    with ServerThread() as server:
        server.break_("slow")
        kubelet = stage.kubelet(1, served(stage, server) | {"engine.concurrency": "64"})
        kubelet.wait_ready()
        load = stage.load(20)
        time.sleep(stage.scaled(20))
        load.stop()
        stage.wait_settled(180)
    # The stub draws its scores: now and then less than half of them falls on the labels.
    failures = [record.body["failure"] for record in stage.lane.read() if record.body["failure"]]
    failed = sum(failure["code"] != "labels_missing" for failure in failures)
    stage.note("slow", seconds_a_call=SLOW_S, failed=failed)
    stage.require(failed == 0, f"{failed} posts were not judged by an engine that is only slow")
    stage.require(kubelet.restarts == 0, "the worker was restarted")


@scenario(number=7, name="engine-wrong-from-the-start", short=True)
def engine_wrong_from_the_start(stage: Stage) -> None:
    """An engine at a wrong address, then with another key: posts wait, and no worker is ready before it scored a prompt."""
    with ServerThread() as server:
        server.break_("refuse")
        settings = served(stage, server)
        kubelet = stage.kubelet(2, settings)
        load = stage.load(40)
        _unready_because(stage, kubelet, "cannot be reached", "nobody listens at the address")
        server.mend()
        server.break_("wrong_key")
        _unready_because(stage, kubelet, "check api_key", "the key is refused")
        answered = len(stage.lane.read())
        stage.require(answered == 0, f"{answered} records were written before any engine had scored")
        # One more, of a release whose address is wrong: it must take no partition from those that are put right.
        astray = stage.kubelet(1, settings | {"engine.url": f"{server.url}/elsewhere"})
        _unready_because(stage, astray, "check url", "the address has another path")
        server.mend()
        kubelet.wait_ready()
        time.sleep(stage.scaled(10))
        load.stop()
        stage.wait_settled()
        _unready_because(stage, astray, "check url", "the address still has another path")
        failures = [record.body["failure"] for record in stage.lane.read() if record.body["failure"]]
    # The stub draws its scores: now and then less than half of them falls on the labels.
    failed = sum(failure["code"] != "labels_missing" for failure in failures)
    stage.note("put right", failed=failed)
    stage.require(failed == 0, f"{failed} posts were not judged by the engine that was put right")
    stage.require(kubelet.restarts + astray.restarts == 0, "a worker was restarted")


def _unready_because(stage: Stage, kubelet: Kubelet, why: str, what: str) -> None:
    """Wait until every worker says why it is unready, and demand that it holds and is in no group."""
    bodies: list[dict[str, Any]] = []

    def told() -> bool:
        answers = [worker.get("/readyz") for worker in kubelet.workers]
        bodies[:] = [json.loads(body) for status, body in answers if status == 503]
        return bool(answers) and len(bodies) == len(answers) and all(why in _missing(body) for body in bodies)

    until(f"every worker is unready: {what}", told, within_s=_WITHIN_S)
    stage.note(what)
    time.sleep(_WELL_S)
    stage.require(told(), f"{what}: a worker is ready, or gives another reason: {bodies}")
    stage.require(
        all(not body["group"] and "engine" in body["holds"] for body in bodies),
        f"{what}: a worker joined its group, or declared no hold: {bodies}",
    )


def _missing(body: dict[str, Any]) -> str:
    return str(body.get("engines_missing", {}).get("engine"))


def _play(
    stage: Stage,
    settings: dict[str, str],
    phases: tuple[Phase, ...],
    *,
    on: Callable[[str], None],
    off: Callable[[], None],
) -> None:
    kubelet = stage.kubelet(1, settings)
    kubelet.wait_ready()
    (worker,) = kubelet.workers
    load = stage.load(60)
    for phase in phases:
        stage.note(phase.name)
        before = _failures(worker)
        on(phase.fault)
        if phase.code is None:
            until(
                f"the stream holds: {phase.name}",
                lambda: worker.metric("sluicegate_hold"),
                within_s=_WITHIN_S,
            )
            time.sleep(_WELL_S)
            stage.require(
                _failures(worker) == before, f"{phase.name}: posts failed while the stream should hold"
            )
        else:
            until(phase.name, partial(_more, worker, phase.code, before), within_s=_WITHIN_S)
        if phase.holds:
            until(f"the circuit opens: {phase.name}", lambda: not _circuit_closed(worker), within_s=_WITHIN_S)
            time.sleep(_WELL_S)
            more = sum(_failures(worker).values()) - sum(before.values())
            most = (_MUTE_CALLS + _IN_FLIGHT) * _MICRO_BATCH
            stage.require(more <= most, f"{phase.name}: {more:g} posts failed, at most {most} may")
        off()
        until(f"the circuit closes after: {phase.name}", lambda: _circuit_closed(worker), within_s=_WITHIN_S)
        until(
            f"no hold after: {phase.name}", lambda: not worker.metric("sluicegate_hold"), within_s=_WITHIN_S
        )
    load.stop()
    stage.wait_settled()
    failed = _failures(worker)
    stage.note("all phases", phases=len(phases), **{code: int(count) for code, count in failed.items()})
    stage.require(
        set(failed) == {phase.code for phase in phases if phase.code}, f"failure codes {set(failed)}"
    )
    stage.require(kubelet.restarts == 0, f"{kubelet.restarts} restarts of the worker")


def _failures(worker: WorkerProcess) -> dict[str, float]:
    """Verdicts by failure mode so far, by code."""
    found: dict[str, float] = {}
    for line in worker.get("/metrics")[1].splitlines():
        if line.startswith("sluicegate_failures_total{") and (code := re.search(r'code="(\w+)"', line)):
            found[code[1]] = found.get(code[1], 0) + float(line.rsplit(" ", 1)[1])
    return found


def _more(worker: WorkerProcess, code: str, before: dict[str, float]) -> bool:
    return _failures(worker).get(code, 0) > before.get(code, 0)


def _circuit_closed(worker: WorkerProcess) -> bool:
    return 'sluicegate_engine_circuit{state="closed"} 1.0' in worker.get("/metrics")[1]


def served(stage: Stage, server: ServerThread) -> dict[str, str]:
    """Settings of a worker whose engine is the server."""
    manifest = small_manifest()
    manifest["limits"]["max_prompt_tokens"] = CONTEXT_TOKENS - 64
    bundle = write_small_bundle(stage.lane.folder / "bundle", manifest)
    return {
        "engine.backend": "completions",
        "engine.url": server.url,
        "engine.bundle": str(bundle),
        "engine.dialect": "vllm",
        "engine.model": "small",
        "engine.concurrency": str(_MICRO_BATCH),
    }


class ServerThread:
    """A stub of a completions server on a port of its own, with a loop and a thread of its own."""

    def __init__(self, *, tells: bool = False) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._stub = StubServer("vllm", port=port, tells=tells)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub", daemon=True)
        self._refusing = False

    @property
    def crashes(self) -> int:
        """Times that it met a post with the marker of :meth:`crash_at`."""
        return self._stub.crashes

    def crash_at(self, marker: str) -> None:
        """End, with all that is in its work, whenever it meets a post with this word."""
        self._stub.faults = {"crash": marker}

    def break_(self, fault: str) -> None:
        """Switch a fault on; ``refuse`` closes the port."""
        if fault == "refuse":
            self._wait(self._stub.__aexit__())
            self._refusing = True
        else:
            self._stub.faults = {fault: None}

    def mend(self) -> None:
        """Switch every fault off."""
        self._stub.faults = {}
        if self._refusing:
            self._refusing = False
            self._wait(self._stub.__aenter__())

    def _wait(self, work: Coroutine[None, None, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._stub.__aenter__())
        return self

    def __exit__(self, *exception: object) -> None:
        self._wait(self._stub.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
