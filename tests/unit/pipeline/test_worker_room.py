"""The engine's room: a worker that is told to use less of it than there is says so at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.worker import Worker
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("concurrency", "warned"), [(4, True), (8, False), (None, False)])
def test_a_concurrency_below_what_the_engine_takes_is_told_with_the_fix(
    concurrency: int | None, warned: bool, tmp_path: Path
) -> None:
    bundle = write_trtllm_bundle(tmp_path, "engine")  # of 8 prompts a step
    engine = {"backend": "completions", "bundle": str(bundle), "url": "http://127.0.0.1:9"}
    with capture_logs() as logs:
        Worker(Settings(engine=engine | {"concurrency": concurrency}))
    told = [log for log in logs if log["event"] == "engine_room_unused"]
    assert bool(told) is warned
    if warned:
        assert (told[0]["concurrency"], told[0]["takes"]) == (4, 8)
        assert told[0]["fix"].startswith("leave engine.concurrency out, or set it to 16")
