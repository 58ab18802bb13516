"""/readyz: ready once each engine has scored a prompt of the worker's own, and not unready for an outage after that."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path


def joined() -> Any:
    return SimpleNamespace(joined=True)


def asked(worker: Worker) -> tuple[bool, dict[str, Any]]:
    report = worker._readyz()
    return report.ok, report.body


async def test_a_worker_in_its_group_is_unready_until_its_engine_has_scored_and_stays_ready_afterwards(
    tmp_path: Path,
) -> None:
    faults, profile = tmp_path / "faults.json", tmp_path / "fake.json"
    profile.write_text(f'{{"faults_file": "{faults}"}}')
    faults.write_text('{"die": true}')
    worker = Worker(
        Settings(engine={"backend": "fake", "fake_profile": str(profile), "circuit_pause_s": 0.01})
    )
    worker._source = joined()
    ok, body = asked(worker)
    assert (ok, body["engine"], body["group"]) == (False, False, True)
    assert "not answered yet" in body["engines_missing"]["engine"]
    async with asyncio.timeout(30), worker._first_answers:
        while "not answered yet" in (body := asked(worker)[1])["engines_missing"]["engine"]:
            await asyncio.sleep(0.01)
        assert not body["ok"]
        assert "die" in body["engines_missing"]["engine"]
        faults.write_text("{}")
        while not asked(worker)[0]:
            await asyncio.sleep(0.01)
        assert asked(worker)[1]["engines_missing"] == {}
        faults.write_text('{"die": true}')
        await asyncio.sleep(0.1)
        assert asked(worker)[0]


async def test_every_adapters_engine_must_have_scored(tmp_path: Path) -> None:
    profile = tmp_path / "teens.json"
    (tmp_path / "faults.json").write_text('{"die": true}')
    profile.write_text(f'{{"faults_file": "{tmp_path / "faults.json"}"}}')
    adapters = {"teens": {"fake_profile": str(profile)}}
    worker = Worker(Settings(engine={"backend": "fake", "adapters": adapters}))
    worker._source = joined()
    async with asyncio.timeout(30), worker._first_answers:
        while "engine" in asked(worker)[1]["engines_missing"]:
            await asyncio.sleep(0.01)
        ok, body = asked(worker)
        assert (ok, list(body["engines_missing"])) == (False, ["engine.adapters.teens"])


def test_a_worker_without_its_group_is_unready() -> None:
    worker = Worker(Settings(engine={"backend": "fake"}))
    worker._first_answers._missing.clear()
    assert not asked(worker)[0]
    worker._source = joined()
    assert asked(worker)[0]
    worker.stop()
    assert not asked(worker)[0]
