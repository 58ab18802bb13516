"""A worker on Apache Kafka before a real vLLM, which is killed under load."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from contract.engine_contract import TIMEOUT_S, some_prompts
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, Severity, decode_post
from support.collector import account
from support.workers import until
from vllm_cpu.real_vllm import open_rig

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from support.collector import Record, Sent
    from support.workers import Lane, WorkerProcess
    from vllm_cpu.server import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.cpu_model, pytest.mark.kafka, pytest.mark.timeout(2400)]

POSTS_S = 600.0
"""For some hundred posts, on a machine that may be busy."""
END_S = 60.0


UNHURRIED = {
    "kafka.session_timeout_s": "30",
    "kafka.rebalance_timeout_s": "60",
    "kafka.delivery_timeout_s": "60",
    "engine.score_timeout_s": "300",
    "engine.explain_timeout_s": "300",
}
"""Settings for a machine where every step may take its time."""


def start(lane: Lane, server: VllmServer) -> WorkerProcess:
    """A worker with the settings that were planned with the server."""
    planned = {f"engine.{name}": str(value) for name, value in server.settings.items()}
    worker = lane.start(planned | UNHURRIED)
    until("the worker is ready", lambda: worker.ready() or not worker.running, within_s=POSTS_S)
    assert worker.running, worker.output
    return worker


def posts(first: int, last: int) -> list[dict[str, Any]]:
    """Some of the sample posts."""
    found = [post for post in map(decode_post, sample_records()) if isinstance(post, Post)]
    return [post.model_dump(mode="json", exclude_defaults=True) for post in found[first:last]]


def assert_judged(sent: list[Sent], records: list[Record], bundle: Path) -> None:
    """Every post has a verdict of the engine's, and no more than one decision."""
    found = account(sent, records)
    assert found.lost == ()
    assert (found.unasked, found.dead_letters, found.two_actions) == (0, 0, ())
    digest = Bundle.open(bundle, verify=False).digest
    for record in records:
        assert record.body["failure"] is None
        assert record.body["engine"]["digest"] == digest
        assert record.body["scores"]


def test_a_worker_judges_every_post(lane: Lane, guard: VllmServer, guard_bundle: Path) -> None:
    start(lane, guard)
    sent = lane.send(posts(0, 60))
    lane.wait_acknowledged(within_s=POSTS_S)
    records = lane.read()
    assert_judged(sent, records, guard_bundle)
    assert len({record.topic for record in records}) > 1
    assert any(record.body["categories"] and record.body["reason"] for record in records)


def test_a_server_killed_under_load_loses_no_post(lane: Lane, guard: VllmServer, guard_bundle: Path) -> None:
    worker = start(lane, guard)
    sent = lane.send(posts(60, 180))
    lane.wait_answers(20, within_s=POSTS_S)
    guard.kill_core()
    guard.wait_ended(END_S)
    guard.start()
    assert lane.answers() < len(sent), "the kill came too late to show anything"
    assert worker.running
    lane.wait_acknowledged(within_s=POSTS_S)
    assert_judged(sent, lane.read(), guard_bundle)


async def test_a_call_in_flight_when_the_server_dies_says_that_it_is_away(
    guard: VllmServer, guard_bundle: Path
) -> None:
    async with open_rig(guard, guard_bundle) as rig:
        prompts = some_prompts(rig) * 4
        severities: list[Severity] = ["unsafe"] * len(prompts)
        call = asyncio.create_task(rig.engine.explain(prompts, severities, timeout_s=TIMEOUT_S))
        async with asyncio.timeout(END_S):
            while not guard.metric("vllm:num_requests_running"):
                await asyncio.sleep(0.02)
        guard.kill_core()
        with pytest.raises(EngineUnavailable):
            await call
        await asyncio.to_thread(guard.wait_ended, END_S)
        assert not (await rig.engine.health()).ok
