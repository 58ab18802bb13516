"""The source over a stand-in for Faust: what it hands on, when it ends, and what it says of its progress."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.fetching import BrokersAwayError
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.lag import ReadPlace
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ONE = ("posts", 0)
STALL_S = Settings().stall_after_s


class HandClock(Clock):
    """Moved by the test; sleeps are real."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Buffer:
    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    async def get_some(self, most: int) -> list[Any]:
        event = await self.events.get()
        if event is None:
            raise StopAsyncIteration
        return [event]


class FakeApp:
    """What the source uses of Faust."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.buffer = Buffer()
        self._crashed = asyncio.Event()
        self.crash_reason: BaseException | None = None
        self.coordinator_fault: str | None = None
        self.rebalancing = False
        self.consumer_generation_id = 1
        self.tracks = True
        self.consumer = SimpleNamespace(
            track=lambda _message: self.tracks,
            delivery_count=SimpleNamespace(reached=Counter[Any]()),
            resets=Counter[Any](),
        )
        self.found: dict[Any, ReadPlace] | Exception = {}
        self.looks = 0
        self.silent = asyncio.Event()
        self.silent.set()
        self.on_partitions_assigned = SimpleNamespace(connect=self._connect)
        self.assigned: Callable[..., Any]
        self.path: Callable[..., Any]
        self.agent_: asyncio.Task[None] | None = None

    def _connect(self, assigned: Callable[..., Any], *, weak: bool) -> None:
        assert not weak  # nothing else holds it
        self.assigned = assigned

    def topic(self, name: str, **_: Any) -> str:
        return name

    def agent(self, _topic: str, *, name: str) -> Callable[[Any], None]:
        def take(path: Any) -> None:
            self.path = path

        return take

    def finalize(self) -> None:
        self.told.append("finalize")

    async def start(self) -> None:
        self.told.append("start")
        stream = SimpleNamespace(channel=SimpleNamespace(queue=self.buffer))
        self.agent_ = asyncio.create_task(self._run(stream))

    async def _run(self, stream: Any) -> None:
        try:
            await self.path(stream)
        except RuntimeError as error:  # as Faust does with an agent that ends badly
            self.crash_reason = error
            self._crashed.set()

    async def stop(self) -> None:
        self.told.append("stop")
        assert self.agent_ is not None
        self.agent_.cancel()

    async def places(self, *, within_s: float) -> dict[Any, ReadPlace]:
        assert within_s > 0
        await self.silent.wait()
        self.looks += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def hands(self, offset: int, timestamp: float | None = 1.5) -> None:
        message = SimpleNamespace(
            topic="posts",
            partition=0,
            offset=offset,
            key=None,
            value=b"v",
            headers=[],
            timestamp=timestamp,
            generation_id=1,
        )
        self.consumer.delivery_count.reached[ONE] = offset + 1
        self.buffer.events.put_nowait(SimpleNamespace(message=message, ack=lambda: None))


class Case:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = FakeApp()
        self.clock = HandClock()
        self.instruments = Instruments.for_engine(1, self.clock)
        self.window = Window(posts=10, size_bytes=1_000, clock=self.clock.monotonic)
        self.got: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None
        monkeypatch.setattr("sluicegate.pipeline.kafka.source.make_app", lambda _settings: self.app)
        monkeypatch.setattr("sluicegate.pipeline.kafka.source.check_faust", lambda: None)
        self.installed = 0
        monkeypatch.setattr("sluicegate.pipeline.kafka.source.install", self.install)
        self.source = Source(
            Settings(),
            window=self.window,
            instruments=self.instruments,
            consume=self.consume,
            drain=self.drain,
            look_every_s=0.001,
        )
        self.stop = asyncio.Event()

    async def consume(self, deliveries: AsyncIterator[Any]) -> None:
        async for delivery in deliveries:
            self.got.append(delivery.offset)
            if self.fault is not None:
                raise self.fault
            await self.go.wait()

    def install(self) -> None:
        self.installed += 1

    async def drain(self) -> None:
        raise AssertionError("Faust's own wait calls it")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(20):
            task = asyncio.create_task(self.source.run(self.stop))
            await self.until(lambda: self.app.agent_ is not None)
            await self.app.assigned(self.app, {TopicPartition(*ONE)})
            yield
            self.stop.set()
            await task

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await asyncio.sleep(0.001)

    async def look(self) -> None:
        """Two more looks: the first may have been under way."""
        looks = self.app.looks
        await self.until(lambda: self.app.looks >= looks + 3)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


async def test_it_joins_hands_on_what_is_its_own_and_leaves(case: Case) -> None:
    case.window.close()  # as after a rebalance
    assert not case.source.joined
    async with case.running():
        assert (case.source.joined, case.source.partitions, case.window.is_open) == (True, 1, True)
        assert case.installed == 1
        case.app.hands(0)
        await case.until(lambda: case.got == [0])
        case.app.tracks = False
        case.app.hands(1)  # of an earlier assignment: it is read again
        await case.until(case.app.buffer.events.empty)
        case.app.tracks = True
        case.app.hands(2)
        await case.until(lambda: len(case.got) > 1)
    assert case.got == [0, 2]
    assert case.app.told == ["finalize", "start", "stop"]


async def test_a_stream_that_faust_ends_is_no_fault(case: Case) -> None:
    async with case.running():
        case.app.buffer.events.put_nowait(None)
        await case.until(lambda: case.app.agent_ is not None and case.app.agent_.done())
        assert case.app.crash_reason is None


async def test_a_flow_that_fails_ends_the_run_with_its_own_fault(case: Case) -> None:
    case.fault = ValueError("the flow's own")
    with pytest.raises(ValueError, match="the flow's own"):
        async with case.running():
            case.app.hands(0)
            await case.app._crashed.wait()
    assert "the flow's own" not in str(case.app.crash_reason)  # Faust logs that one
    assert case.app.told[-1] == "stop"


async def test_a_crash_of_faust_ends_the_run(case: Case) -> None:
    with pytest.raises(OSError, match="Faust's own"):
        async with case.running():
            case.app.crash_reason = OSError("Faust's own")
            case.app._crashed.set()


async def test_a_start_that_fails_leaves_nobody_looking(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise OSError("no start")

    monkeypatch.setattr(case.app, "start", fails)
    with pytest.raises(OSError, match="no start"):
        await case.source.run(case.stop)
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1


async def test_a_member_whose_coordinator_has_died_ends_the_run_and_says_why(case: Case) -> None:
    with pytest.raises(ClusterError, match="this member of the group is dead"):
        async with case.running():
            assert case.source.coordinator_fault is None
            case.app.coordinator_fault = "TopicAuthorizationFailedError"
            await case.until(lambda: case.source.coordinator_fault is not None)
    assert case.source.coordinator_fault == "TopicAuthorizationFailedError"


async def test_a_partition_that_waits_without_a_reason_is_stalled_after_its_time(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(5, 9)}
    async with case.running():
        await case.look()
        assert case.source.stalled == []
        case.clock.now += STALL_S - 1
        await case.look()
        assert case.source.stalled == []
        case.clock.now += 2
        await case.look()
        assert case.source.stalled == ["posts/0"]
        case.app.rebalancing = True
        await case.look()
        assert case.source.stalled == []
        case.app.rebalancing = False
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]
        with case.instruments.holds.waiter("engine") as declare:
            declare("it is away")
            await case.look()
            assert case.source.stalled == []


async def test_what_was_handed_on_and_not_taken_is_stalled_and_what_the_flow_has_is_not(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(1, 1)}  # everything is fetched
    async with case.running():
        case.app.hands(0)
        await case.until(lambda: case.got == [0])
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == []
        case.app.consumer.delivery_count.reached[ONE] = 2  # one more, which never arrives
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]


async def test_a_flow_with_a_full_window_is_no_stall_of_the_source(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(5, 9)}
    case.go.clear()
    delivery: Any = SimpleNamespace(partition=ONE, offset=0, key=b"", value=b"", headers=(), is_current=True)
    async with case.running():
        await case.window.take(deque([delivery]))
        case.app.hands(1)
        await case.until(lambda: case.got == [1])
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == []
        case.go.set()  # the flow asks for more, and nothing comes
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]


async def test_a_flow_that_asks_for_nothing_with_an_empty_window_is_a_stall(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(5, 9)}
    case.go.clear()
    async with case.running():
        case.app.hands(1)
        await case.until(lambda: case.got == [1])
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]
        case.go.set()


async def test_a_consumer_that_does_not_even_answer_is_told(case: Case) -> None:
    async with case.running():
        await case.look()
        case.app.silent.clear()
        await asyncio.sleep(0.01)
        case.clock.now += STALL_S + 5
        assert case.source.stalled == []
        case.clock.now += 0.1
        assert case.source.stalled == ["consumer"]
        case.app.silent.set()
        await case.look()
        assert case.source.stalled == []
    case.clock.now += 10 * STALL_S
    assert case.source.stalled == []  # nobody is asked any more


async def test_brokers_that_do_not_answer_are_a_hold_until_they_do(case: Case) -> None:
    async with case.running():
        case.app.found = BrokersAwayError("NodeNotReadyError")
        await case.look()
        assert "NodeNotReadyError" in case.instruments.holds.current["input"].reason
        case.app.found = {ONE: ReadPlace(0, 0)}
        await case.look()
        assert not case.instruments.holds


async def test_the_lag_is_the_age_of_the_oldest_post_in_hand(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(0, 0)}
    case.go.clear()
    async with case.running():
        await case.look()
        assert case.source.lag_s == 0.0
        case.app.hands(0, case.clock.utc().timestamp() - 1)
        await case.until(lambda: case.got == [0])
        case.app.found = {ONE: ReadPlace(1, 1)}
        await case.look()
        case.clock.now += 60
        assert case.source.lag_s >= 1.0  # in hand, though the window has not taken it
        case.go.set()
        await case.look()
        assert case.source.lag_s == 0.0


async def test_posts_that_are_not_fetched_yet_are_as_old_as_the_last_one_taken(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(0, 5)}
    async with case.running():
        case.app.hands(0, case.clock.utc().timestamp() - 100)
        await case.until(lambda: case.got == [0])
        await case.look()
        assert case.source.lag_s >= 100


async def test_a_look_speaks_for_the_present_until_the_next_one_is_late(case: Case) -> None:
    case.app.found = {ONE: ReadPlace(0, 0)}
    async with case.running():
        await case.look()
        case.app.silent.clear()
        await asyncio.sleep(0.01)
        case.clock.now += 4
        assert case.source.lag_s == 0.0
        case.clock.now += 2
        assert case.source.lag_s == 6.0
        case.app.silent.set()
