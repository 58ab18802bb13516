"""The source over a stand-in for its client: what it hands on, when it ends, and what it says of its progress."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.errors import ClusterError, SettingsError
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.assignment import Chunk, KafkaDelivery, Reset, place
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import Settings
from support.fake_group import TOPIC, FakeClient, FakeCluster, FakeMessage, FakeShapes, fault, records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sluicegate.pipeline.records import Delivery

ONE = (TOPIC, 0)
STALL_S = Settings().stall_after_s


class HandClock(Clock):
    """Moved by the test; sleeps are real."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Case:
    """A source over a fake client with one partition, and what its flow got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = FakeCluster({0: (0, 0)})
        self.client: FakeClient
        self.clock = HandClock()
        self.instruments = Instruments.for_engine(1, self.clock)
        self.window = Window(posts=10, size_bytes=1_000, clock=self.clock.monotonic)
        self.got: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None
        self.drained = 0
        self.looks = 0
        monkeypatch.setattr(
            "sluicegate.pipeline.kafka.onlooker.TopicShapes",
            lambda _kafka, client: FakeShapes(client.cluster),
        )
        monkeypatch.setattr("confluent_kafka.Consumer", lambda _config: FakeClient(self.cluster, {}))
        monkeypatch.setattr("sluicegate.pipeline.kafka.onlooker.log_bounds", self.log_bounds)
        monkeypatch.setattr("sluicegate.pipeline.kafka.partitions.diverged", lambda *_, **__: set())
        self.source = Source(
            Settings.model_validate({"kafka": {"commit_interval_s": 0.01}}),
            window=self.window,
            instruments=self.instruments,
            consume=self.consume,
            drain=self.drain,
            look_every_s=0.001,
            make_client=self.make_client,
        )
        self.stop = asyncio.Event()

    def make_client(self, options: dict[str, Any], **_options: Any) -> FakeClient:
        self.client = FakeClient(self.cluster, options)
        return self.client

    def log_bounds(self, client: FakeClient, partitions: Any, *, within_s: float) -> Any:
        assert within_s > 0
        self.looks += 1
        client.cluster.require()
        return {one: client.cluster.bounds[one[1]] for one in partitions}

    async def consume(self, chunks: AsyncIterator[Sequence[Delivery]]) -> None:
        async for chunk in chunks:
            self.got += [delivery.offset for delivery in chunk]
            if self.fault is not None:
                raise self.fault
            await self.go.wait()

    async def drain(self) -> None:
        self.drained += 1
        self.window.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.timeout(20):
            task = asyncio.create_task(self.source.run(self.stop))
            await self.until(lambda: hasattr(self, "client") and self.client.subscribed.is_set())
            self.client.rebalances("on_assign", 0)
            await self.until(lambda: self.source.joined)
            yield task
            self.stop.set()
            await task

    async def until(self, true: Callable[[], Any]) -> None:
        while not true():
            await asyncio.sleep(0.001)

    async def look(self) -> None:
        """Two more looks: the first may have been under way."""
        looks = self.looks
        await self.until(lambda: self.looks >= looks + 3)

    async def hands(self, offset: int, stamp_ms: int = 1_500) -> None:
        """One record comes, and the flow gets it."""
        got = len(self.got)
        self.client.meets([FakeMessage(0, offset, stamp=(1, stamp_ms))])
        await self.until(lambda: len(self.got) > got)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


async def test_it_joins_hands_on_and_leaves(case: Case) -> None:
    case.window.close()  # as after a rebalance
    assert not case.source.joined
    async with case.running():
        assert (case.source.joined, case.source.partitions, case.window.is_open) == (True, 1, True)
        await case.hands(0)
        await case.hands(1)
    assert case.got == [0, 1]
    assert case.instruments.metrics.registry.get_sample_value("sluicegate_rebalances_total") == 1
    assert case.drained >= 1
    assert case.client.closed.is_set()


async def test_what_was_fetched_before_an_assignment_ended_never_reaches_the_flow(case: Case) -> None:
    async with case.running():
        case.go.clear()
        await case.hands(0)  # the flow is busy with it
        case.client.meets(records(0, 1, 5))
        await case.until(case.client.script.empty)
        case.client.rebalances("on_lost", 0)
        await case.until(lambda: case.source.partitions == 0)
        case.go.set()
        case.client.rebalances("on_assign", 0)
        await case.until(lambda: case.source.partitions == 1)
        await case.hands(0)
        assert case.got == [0, 0]


async def test_a_chunk_that_is_lost_on_its_way_ends_the_run(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_on = case.source.hand_on

    async def lossy(chunks: Sequence[Any]) -> None:
        await hand_on([chunk for chunk in chunks if chunk.number > 1])

    monkeypatch.setattr(case.source, "hand_on", lossy)
    with pytest.raises(ClusterError, match="before offset 1 were dropped on their way"):
        async with case.running() as task:
            case.client.meets(records(0, 0, 1))
            await asyncio.sleep(0.1)
            assert case.got == []
            case.client.meets(records(0, 1, 2))
            await asyncio.wait([task])
    assert case.cluster.history == []


async def test_chunks_keep_their_order_however_many_wait(case: Case) -> None:
    async with case.running():
        case.go.clear()
        await case.hands(0)
        assignment = case.source._consumer.assignments[ONE]
        tasks = []
        for offset in range(1, 6_000):  # more than Faust's own bound for a channel
            delivery = KafkaDelivery(assignment, offset, None, b"v", (), None)
            handing = case.source.hand_on([Chunk(assignment, offset + 1, [delivery], 0)])
            tasks.append(asyncio.create_task(handing))
            if offset == 5_000:
                await asyncio.sleep(0.01)
                case.go.set()
        await asyncio.gather(*tasks)
        await case.until(lambda: len(case.got) == 6_000)
        assert case.got == list(range(6_000))


async def test_a_flow_that_fails_ends_the_run_with_its_own_fault(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.fault = ValueError("the flow's own")
    with pytest.raises(ValueError, match="the flow's own"):
        async with case.running() as task:
            case.client.meets(records(0, 0, 1))
            await asyncio.wait([task])
    assert "the flow's own" not in caplog.text  # Faust logs what ends an agent
    assert case.client.closed.is_set()


async def test_a_member_that_cannot_go_on_ends_the_run_and_says_why(case: Case) -> None:
    with pytest.raises(ClusterError, match="this member of the group is dead"):
        async with case.running() as task:
            case.client.meets([fault(KafkaError.GROUP_AUTHORIZATION_FAILED)])
            await asyncio.wait([task])


async def test_a_client_that_cannot_be_made_leaves_nobody_looking(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> FakeClient:
        raise OSError("no client")

    monkeypatch.setattr(case.source._consumer, "_make_client", fails)
    with pytest.raises(OSError, match="no client"):
        await case.source.run(case.stop)
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1


async def test_a_stop_before_the_group_answered_leaves_at_once(case: Case) -> None:
    async with asyncio.timeout(5):
        task = asyncio.create_task(case.source.run(case.stop))
        await case.until(lambda: hasattr(case, "client") and case.client.subscribed.is_set())
        case.stop.set()
        await task
    assert case.client.closed.is_set()
    assert case.drained == 0


async def test_what_nobody_can_read_any_more_is_counted(case: Case) -> None:
    case.cluster.bounds[0] = (30, 30)
    case.cluster.commits[0] = place(ONE, 6, "one")
    async with case.running():
        missed = case.instruments.metrics.records_missed.labels(TOPIC)
        await case.until(lambda: missed._value.get() == 24)
        for reset in (Reset("cut", 50, 30), Reset("made again", 50, 30)):
            case.source.was_reset(ONE, reset)
        assert missed._value.get() == 24


async def test_a_member_that_was_thrown_out_is_not_ready_and_says_why_until_it_is_taken_in(
    case: Case,
) -> None:
    case.cluster.bounds[0] = (0, 5)
    async with case.running():
        await case.look()
        case.client.rebalances("on_lost", 0)
        await case.until(lambda: not case.source.joined)
        assert "thrown out of its group" in case.instruments.holds.current["input"].reason
        await case.look()
        case.clock.now += 60
        assert case.source.lag_s >= 60  # nobody knows better
        case.client.rebalances("on_assign", 0)
        await case.until(lambda: case.source.joined)
        assert not case.instruments.holds


async def test_another_topic_of_the_name_is_begun_again(case: Case) -> None:
    async with case.running():
        await case.hands(0)
        case.cluster.incarnation = "two"
        await case.until(lambda: ("unassign", {0}) in case.client.told)
        await case.until(lambda: case.client.told.count(("assign", {0: 0})) == 2)
        await case.hands(0)
        assert case.got == [0, 0]


async def test_a_partition_that_waits_without_a_reason_is_stalled_after_its_time(case: Case) -> None:
    case.cluster.bounds[0] = (0, 9)
    async with case.running():
        await case.look()
        assert case.source.stalled == []
        case.clock.now += STALL_S - 1
        await case.look()
        assert case.source.stalled == []
        case.clock.now += 2
        await case.look()
        assert case.source.stalled == ["posts/0"]
        with case.instruments.holds.waiter("engine") as declare:
            declare("it is away")
            await case.look()
            assert case.source.stalled == []


async def test_what_was_handed_on_and_not_taken_is_stalled_and_what_the_flow_has_is_not(case: Case) -> None:
    async with case.running():
        await case.hands(0)
        case.cluster.bounds[0] = (0, 1)  # everything is fetched
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == []
        case.source._consumer.assignments[ONE].handed = 2  # one more, which never arrives
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]


async def test_a_quarter_of_the_windows_posts_waits_before_it_however_short_they_are(case: Case) -> None:
    case.cluster.bounds[0] = (0, 5_000)
    case.go.clear()
    async with case.running():
        await case.hands(0)
        case.client.meets(records(0, 1, 1 + Settings().window.posts // 4))
        await case.until(lambda: ("pause", {0}) in case.client.told)
        case.go.set()
        await case.until(lambda: ("resume", {0}) in case.client.told)


async def test_a_flow_with_a_full_window_is_no_stall_of_the_source(case: Case) -> None:
    case.cluster.bounds[0] = (0, 9)
    async with case.running():
        case.go.clear()
        await case.hands(0)
        (held,) = case.source._held().values()
        await case.window.take(deque([held]))
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
    case.cluster.bounds[0] = (0, 9)
    async with case.running():
        case.go.clear()
        await case.hands(0)
        await case.look()
        case.clock.now += STALL_S + 1
        await case.look()
        assert case.source.stalled == ["posts/0"]
        case.go.set()


async def test_a_consumer_that_does_not_even_ask_is_told(case: Case) -> None:
    async with case.running():
        assert case.source.stalled == []
        seen = time.monotonic() - STALL_S - 6

        def stand_still() -> None:
            case.source._consumer._seen_at = seen
            time.sleep(0.2)

        case.client.script.put(stand_still)
        await case.until(lambda: case.source.stalled == ["consumer"])
        await case.until(lambda: case.source.stalled == [])
    assert case.source.stalled == []  # nobody is asked any more


async def test_brokers_that_do_not_answer_are_a_hold_until_they_do(case: Case) -> None:
    async with case.running():
        case.cluster.away = True
        await case.until(lambda: case.instruments.holds)
        assert "_TRANSPORT" in case.instruments.holds.current["input"].reason
        case.cluster.away = False
        await case.until(lambda: not case.instruments.holds)


async def test_credentials_that_are_away_for_a_moment_are_a_hold_and_end_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any, **__: Any) -> Any:
        raise SettingsError("the callback gave no token")

    async with case.running():
        with monkeypatch.context() as away:
            away.setattr("sluicegate.pipeline.kafka.onlooker.log_bounds", ask)
            await case.until(lambda: case.instruments.holds)
            assert "gave no token" in case.instruments.holds.current["input"].reason
        await case.until(lambda: not case.instruments.holds)


async def test_the_lag_is_the_age_of_the_oldest_post_in_hand(case: Case) -> None:
    async with case.running():
        case.go.clear()
        await case.look()
        assert case.source.lag_s == 0.0
        case.cluster.bounds[0] = (0, 1)
        await case.hands(0, int(case.clock.utc().timestamp() * 1000) - 1_000)
        await case.look()
        case.clock.now += 60
        assert case.source.lag_s >= 1.0  # in hand, though the window has not taken it
        case.go.set()
        await case.look()
        assert case.source.lag_s == 0.0


async def test_posts_that_are_not_fetched_yet_are_as_old_as_the_last_one_taken(case: Case) -> None:
    case.cluster.bounds[0] = (0, 5)
    async with case.running():
        await case.hands(0, int(case.clock.utc().timestamp() * 1000) - 100_000)
        await case.look()
        assert case.source.lag_s >= 100


async def test_a_look_speaks_for_the_present_until_the_next_one_is_late(case: Case) -> None:
    async with case.running():
        await case.look()
        case.cluster.away = True
        await case.until(lambda: case.instruments.holds)
        case.clock.now += 4
        assert case.source.lag_s == 0.0
        case.clock.now += 2
        assert case.source.lag_s == 6.0
        case.cluster.away = False
