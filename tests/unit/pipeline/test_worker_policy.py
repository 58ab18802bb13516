"""A worker whose policy is for other engines: it waits outside its group, says why, and can be told to stop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

OTHER = f"sha256:{'a' * 64}"
OWN = FakeEngine().info


def document(digest: str) -> str:
    return f"name: p\nversion: '1'\nengines: [{digest}]\n"


@pytest.mark.parametrize("heals", [True, False])
async def test_it_waits_until_a_policy_fits_or_it_is_told_to_stop(tmp_path: Path, heals: bool) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(document(OTHER))
    worker = Worker(Settings(engine={"backend": "fake"}, policy={"path": path}))
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        waiting = asyncio.create_task(worker._policy_fits(stack, {None: OWN}))
        while worker._readyz().body["policy"] == "in force":
            await asyncio.sleep(0.002)
        report = worker._readyz()
        assert not report.ok
        assert f"the policy is for {OTHER}, and the engine is {OWN.digest};" in report.body["policy"]
        assert not waiting.done()
        if heals:
            path.write_text(document(OWN.digest))
        else:
            worker.stop()
        assert await waiting is heals
    assert (worker._readyz().body["policy"] == "in force") is heals
