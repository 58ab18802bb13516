"""/livez: a hold of any length is no stall, and a stall without one is told in time."""

from __future__ import annotations

import json
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.worker import Worker
from unit.pipeline.fakes import HandClock, MemoryDelivery

if TYPE_CHECKING:
    from sluicegate.pipeline.observe.holds import HoldName

TEN_MINUTES_S = 600.0


class Probed:
    """A worker with a clock of ours, and a window that holds one post."""

    def __init__(self) -> None:
        self.settings = Settings(engine={"backend": "fake"})
        self.worker = Worker(self.settings)
        self.clock = HandClock()
        self.instruments = Instruments.for_engine(1, self.clock)
        self.window = Window(posts=5, size_bytes=1000, clock=self.clock.monotonic)
        source: Any = SimpleNamespace(stalled=[])
        self.source = source
        self.worker._instruments = self.instruments
        self.worker._window = self.window
        self.worker._source = self.source

    @property
    def after_s(self) -> float:
        return self.settings.stall_after_s

    def probe(self) -> tuple[bool, dict[str, Any]]:
        report = self.worker._livez()
        return report.ok, json.loads(json.dumps(report.body))


@pytest.mark.parametrize("name", ["engine", "publish", "input"])
async def test_a_hold_of_ten_minutes_leaves_it_at_200_and_what_waited_has_its_time_afterwards(
    name: HoldName,
) -> None:
    found = Probed()
    assert await found.window.take(deque([MemoryDelivery(0)]))
    with found.instruments.holds.waiter(name) as declare:
        declare("away")
        for _ in range(60):
            found.clock.now += TEN_MINUTES_S / 60
            assert found.probe() == (True, {"ok": True})
    assert found.probe()[0], "the hold is over this moment"
    found.clock.now += found.after_s
    assert found.probe()[0]
    found.clock.now += 0.1
    assert found.probe() == (False, {"ok": False, "stalled": ["posts/0"]})


async def test_a_post_that_is_never_answered_is_a_stall() -> None:
    found = Probed()
    slots = await found.window.take(deque([MemoryDelivery(0)]))
    assert len(slots) == 1
    found.clock.now += found.after_s
    assert found.probe()[0]
    found.clock.now += 0.1
    assert not found.probe()[0]
    found.window.finish(slots)
    assert found.probe()[0]


def test_a_source_that_stands_still_is_told() -> None:
    found = Probed()
    found.source.stalled = ["posts/2", "consumer"]
    assert found.probe() == (False, {"ok": False, "stalled": ["consumer", "posts/2"]})


def test_the_default_stall_time_is_the_one_that_the_docs_state() -> None:
    assert Probed().after_s == 151
