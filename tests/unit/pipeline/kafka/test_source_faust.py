from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import faust
import faust.streams
import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.kafka.faust_app import (
    FaustApp,
    FaustDelivery,
    _Consumer,
    _Thread,
    check_faust,
    faust_options,
    make_app,
)
from sluicegate.pipeline.kafka.fetching import DeliveryCount
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings

if TYPE_CHECKING:
    from sluicegate.pipeline.records import Partition


def make(
    generation: int = 3, timestamp: float | None = 1.5
) -> tuple[FaustDelivery, SimpleNamespace, list[str]]:
    told: list[str] = []
    message = SimpleNamespace(
        topic="posts",
        partition=1,
        offset=42,
        key=b"k",
        value=b"v",
        headers=[("a", b"b")],
        timestamp=timestamp,
        generation_id=generation,
    )
    event = SimpleNamespace(message=message, ack=lambda: told.append("ack"))
    app = SimpleNamespace(
        consumer_generation_id=3,
        consumer=SimpleNamespace(
            resets=Counter(), _unacked_messages=SimpleNamespace(discard=lambda _m: told.append("discard"))
        ),
    )
    return FaustDelivery(app, event), app, told


def test_a_delivery_carries_the_record() -> None:
    delivery, _, _ = make()
    assert (delivery.partition, delivery.offset) == (("posts", 1), 42)
    assert (delivery.key, delivery.value, delivery.headers) == (b"k", b"v", (("a", b"b"),))
    assert delivery.timestamp_ms == 1500


@pytest.mark.parametrize(("timestamp", "stamp_ms"), [(None, None), (-0.001, None), (-1e9, None), (0.0, 0)])
def test_a_record_without_a_timestamp_has_none(timestamp: float | None, stamp_ms: int | None) -> None:
    delivery, _, _ = make(timestamp=timestamp)
    assert delivery.timestamp_ms == stamp_ms


def test_a_delivery_is_answered_once() -> None:
    delivery, _, told = make()
    delivery.acknowledge()
    delivery.acknowledge()
    delivery.release()
    assert told == ["ack"]


def test_releasing_takes_it_off_the_list_without_acknowledging() -> None:
    delivery, _, told = make()
    delivery.release()
    delivery.acknowledge()
    assert told == ["discard"]


def test_a_delivery_of_an_earlier_generation_is_stale() -> None:
    delivery, app, _ = make()
    assert delivery.is_current
    app.consumer_generation_id = 4
    assert not delivery.is_current


def test_a_delivery_is_stale_once_its_partition_is_read_anew_from_an_earlier_offset() -> None:
    delivery, app, _ = make()
    app.consumer.resets["posts", 2] += 1
    assert delivery.is_current
    app.consumer.resets["posts", 1] += 1
    assert not delivery.is_current


def test_a_record_that_stood_in_a_buffer_when_its_log_was_cut_is_stale_from_the_start() -> None:
    fresh, app, _ = make()
    app.consumer.resets["posts", 1] += 1
    stale = FaustDelivery(app, SimpleNamespace(message=fresh._event.message))
    assert not stale.is_current
    read_anew = fresh._event.message
    read_anew.cuts = 1
    assert FaustDelivery(app, SimpleNamespace(message=read_anew)).is_current


@pytest.mark.parametrize(("cuts", "stamp"), [({}, None), ({("posts", 1): 2}, 2), ({("posts", 0): 2}, None)])
def test_a_record_is_stamped_with_the_cuts_of_its_partition_at_its_fetch(
    monkeypatch: pytest.MonkeyPatch, cuts: dict[Partition, int], stamp: int | None
) -> None:
    monkeypatch.setattr(driver.Consumer, "_to_message", lambda *_: SimpleNamespace())
    consumer: Any = object.__new__(_Consumer)
    consumer.delivery_count = DeliveryCount()
    consumer._thread = SimpleNamespace(progress=SimpleNamespace(cuts_at_fetch=cuts))
    record = SimpleNamespace(topic="posts", partition=1, offset=41)
    message = consumer._to_message(None, record)
    assert (getattr(message, "cuts", None), message.number) == (stamp, 1)
    assert consumer.delivery_count.reached == {("posts", 1): 42}


def test_start_up_asserts_what_this_module_relies_on(monkeypatch: pytest.MonkeyPatch) -> None:
    check_faust()
    iterator: Any = faust.streams._CStreamIterator
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(StartError, match="NO_CYTHON"):
        check_faust()
    monkeypatch.setattr(faust.streams, "_CStreamIterator", iterator)
    monkeypatch.setattr(faust, "__version__", "0.16.0")
    with pytest.raises(StartError, match=r"install faust-streaming==0\.15\.3"):
        check_faust()


def test_a_long_hold_takes_no_member_out_of_its_group() -> None:
    # aiokafka leaves a group for want of fetches, which buffers that are full put off.
    assert make_app(Settings()).conf.broker_max_poll_interval > 365 * 86_400


@pytest.mark.parametrize("rebalancing", [False, True])
def test_a_membership_that_died_is_seen_in_the_midst_of_a_rebalance_as_well(rebalancing: bool) -> None:
    coordinator = SimpleNamespace(
        _coordination_task=SimpleNamespace(done=lambda: False), _pending_exception=ValueError()
    )
    thread = SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator))
    app: Any = SimpleNamespace(consumer=SimpleNamespace(_thread=thread), rebalancing=rebalancing)
    fault: Any = FaustApp.coordinator_fault
    assert fault.fget(app) == "ValueError"
    coordinator._pending_exception = None
    assert fault.fget(app) is None


def test_a_reset_that_two_fetches_met_is_counted_once() -> None:
    counted: list[int] = []
    topics: list[str] = []

    def labels(topic: str) -> SimpleNamespace:
        topics.append(topic)
        return SimpleNamespace(inc=counted.append)

    missed = SimpleNamespace(labels=labels)
    source: Any = SimpleNamespace(
        _resets=set(), _instruments=SimpleNamespace(metrics=SimpleNamespace(records_missed=missed))
    )
    for wanted in (5, 5, 20):
        Source._position_reset(source, ("posts", 0), wanted, 29)
    assert (counted, topics) == ([24, 9], ["posts", "posts"])


async def test_a_commit_that_found_another_under_way_commits_what_that_one_lacked() -> None:
    committed: list[int] = []
    acknowledged = [1]
    under_way = asyncio.Event()

    async def force_commit(*_topics: Any, **_options: Any) -> bool:
        reached = max(acknowledged)
        under_way.set()
        await asyncio.sleep(0.01)
        committed.append(reached)
        return True

    consumer: Any = object.__new__(_Consumer)
    consumer.app, consumer._commit_fut = SimpleNamespace(client_only=False), None
    consumer._loop, consumer.force_commit = asyncio.get_running_loop(), force_commit
    first = asyncio.create_task(consumer.commit())
    await under_way.wait()
    acknowledged.append(2)
    assert all(await asyncio.gather(first, consumer.commit(), consumer.commit()))
    assert committed == [1, 2, 2]


@pytest.mark.parametrize("consumer", [None, SimpleNamespace(_coordinator=None)])
def test_a_member_that_is_still_starting_is_not_dead(consumer: Any) -> None:
    app: Any = SimpleNamespace(consumer=SimpleNamespace(_thread=SimpleNamespace(_consumer=consumer)))
    assert FaustApp.coordinator_fault.fget(app) is None  # type: ignore[attr-defined]


async def test_the_flow_gives_back_what_it_holds_before_faust_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    async def waits(*_: Any) -> None:
        told.append("Faust waits")

    async def drains() -> None:
        told.append("the flow drains")

    monkeypatch.setattr(faust.App, "_consumer_wait_empty", waits)
    app = FaustApp.__new__(FaustApp)
    app.before_wait = drains
    await app._consumer_wait_empty(None, None)
    assert told == ["the flow drains", "Faust waits"]


ONE, TWO = TP("posts", 0), TP("posts", 1)


class Accounts:
    """A consumer with its account of what may be committed, and a thread that notes what is."""

    def __init__(self) -> None:
        self.committed: list[dict[TP, int]] = []
        self.told: list[Any] = []
        self.reached: dict[TP, int] = {}
        self.accepts = True
        consumer: Any = object.__new__(_Consumer)
        consumer._acknowledged, consumer._first, consumer._unacked_messages = {}, {}, set()
        consumer._waiting_for_ack, consumer.resets = None, Counter()
        consumer._committed_offset = {ONE: None, TWO: None}
        consumer._thread = SimpleNamespace(committable=self.committable)
        consumer._commit = self.commit
        consumer.app = SimpleNamespace(position_reset=lambda *told: self.told.append(told))
        self.consumer = consumer

    async def committable(self, _acknowledged: Any, _first: Any) -> dict[TP, int]:
        return self.reached

    async def commit(self, due: dict[TP, int]) -> bool:
        self.committed.append(due)
        return self.accepts


def test_an_acknowledged_record_moves_its_partition_and_is_no_longer_waited_for() -> None:
    consumer = Accounts().consumer
    waited_for: list[Any] = []
    consumer._unacked_messages = SimpleNamespace(discard=waited_for.append)
    messages = [SimpleNamespace(tp=ONE, offset=offset, acked=False) for offset in (0, 1, 2)]
    for message in messages:
        consumer.ack(message)
    assert (consumer._first, consumer._acknowledged) == ({ONE: 0}, {ONE: 3})
    assert waited_for == messages
    assert all(message.acked for message in messages)


async def test_only_what_has_moved_is_committed_and_a_commit_that_was_refused_is_made_again() -> None:
    stand = Accounts()
    stand.reached = {ONE: 5, TWO: 7}
    assert await stand.consumer.force_commit()
    stand.reached, stand.accepts = {ONE: 5, TWO: 9}, False
    assert not await stand.consumer.force_commit()
    stand.accepts = True
    assert await stand.consumer.force_commit()
    assert not await stand.consumer.force_commit()
    assert stand.committed == [{ONE: 5, TWO: 7}, {TWO: 9}, {TWO: 9}]


@pytest.mark.parametrize(("found", "is_cut"), [(4, True), (5, False), (6, False)])
def test_only_a_reset_to_an_earlier_offset_makes_stale_what_was_read(found: int, is_cut: bool) -> None:
    stand = Accounts()
    stand.consumer._acknowledged, stand.consumer._first = {ONE: 5, TWO: 5}, {ONE: 4, TWO: 4}
    stand.consumer.position_reset(ONE, 5, found)
    assert stand.consumer.resets == ({("posts", 0): 1} if is_cut else {})
    assert (
        stand.consumer._acknowledged.keys()
        == stand.consumer._first.keys()
        == ({TWO} if is_cut else {ONE, TWO})
    )
    assert stand.told == [(("posts", 0), 5, found)]


async def test_what_was_revoked_meanwhile_is_not_committed_and_counts_as_not_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    committed: list[Any] = []

    async def commit(_thread: Any, offsets: Any) -> bool:
        committed.append(offsets)
        return True

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_commit", commit)
    thread: Any = object.__new__(_Thread)
    thread.assignment = lambda: {ONE}
    assert not await thread._commit({TWO: 3})
    assert committed == []
    assert await thread._commit({ONE: 3})
    assert committed == [{ONE: 3}]


@pytest.mark.parametrize("lacking", ["progress", "should_stop", "crashed"])
async def test_a_thread_that_has_not_begun_or_has_ended_is_not_asked_what_may_be_committed(
    lacking: str,
) -> None:
    state = {"progress": object(), "should_stop": False, "crashed": False}
    thread: Any = SimpleNamespace(**state | {lacking: None if lacking == "progress" else True})
    assert await _Thread.committable(thread, {ONE: 3}, {ONE: 0}) == {}


@pytest.mark.parametrize("begun", [True, False])
async def test_a_fetch_moves_the_progress_of_a_thread_that_has_begun(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    async def fetch(*_: Any, **__: Any) -> str:
        return "records"

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    moved: list[Any] = []
    thread: Any = object.__new__(_Thread)
    thread.progress = SimpleNamespace(fetched=moved.append) if begun else None
    assert await thread._fetch_records() == "records"
    assert moved == (["records"] if begun else [])


async def test_what_was_acknowledged_is_committed_at_a_revocation_and_forgotten_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    committed: list[Any] = []

    async def drain_and_commit(consumer: Any, revoked: Any) -> None:
        committed.append((revoked, dict(consumer._acknowledged), dict(consumer._first)))

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", drain_and_commit)
    consumer = Accounts().consumer
    consumer._stop_at_rebalance = lambda: None
    consumer._acknowledged, consumer._first = {ONE: 5}, {ONE: 4}
    await consumer.on_partitions_revoked({ONE})
    assert committed == [({ONE}, {ONE: 5}, {ONE: 4})]
    assert (consumer._acknowledged, consumer._first) == ({}, {})


@pytest.mark.parametrize(
    ("session_s", "rebalance_s", "request_s"), [(45, 60, 90), (200, 60, 205), (45, 300, 305)]
)
def test_a_request_may_take_longer_than_a_rebalance(
    session_s: float, rebalance_s: float, request_s: float
) -> None:
    kafka = KafkaSettings(session_timeout_s=session_s, rebalance_timeout_s=rebalance_s)
    assert faust_options(kafka)["broker_request_timeout"] == request_s
