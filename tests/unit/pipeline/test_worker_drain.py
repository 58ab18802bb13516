"""The drain of a worker whose flow has failed: nothing is finished any more, so nothing is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.worker import Worker
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.pipeline.records import Delivery


@pytest.mark.parametrize("fails", [True, False])
async def test_a_drain_waits_for_a_flow_that_works_and_not_for_one_that_failed(fails: bool) -> None:
    worker = Worker(Settings(engine={"backend": "fake"}))
    engine = ScriptedEngine()
    engine.gate.clear()
    bench = Bench(engine=engine)
    worker._window = bench.window
    taken = asyncio.Event()
    gone_on = asyncio.Event()

    async def chunks() -> AsyncIterator[Sequence[Delivery]]:
        yield [bench.delivery(post(0), 0)]
        while not engine.scored:
            await asyncio.sleep(0)
        taken.set()
        if fails:
            raise ValueError("a fault of ours")
        await gone_on.wait()

    carrying = asyncio.create_task(worker._carry(bench.flow, chunks()))
    await taken.wait()
    if fails:
        with pytest.raises(ExceptionGroup):
            await carrying
        assert worker.stopping.is_set()  # so its budget runs
    drain = asyncio.create_task(worker._drain(bench.flow))
    done, _ = await asyncio.wait([drain], timeout=1)
    if carrying.done() and not fails:
        carrying.result()  # why it ended
    assert bool(done) is fails
    engine.gate.set()
    gone_on.set()
    await drain
    assert bench.window.posts == 0
    assert bench.log == [("released" if fails else "acknowledged", 0)]
    if not fails:
        await carrying
        assert not worker.stopping.is_set()


def test_a_flow_that_was_never_started_answers_nothing() -> None:
    flow: Any = Bench().flow
    assert not flow.running
