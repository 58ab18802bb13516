"""Fetching without a broker: what may be committed, and what is told of a reset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import aiokafka.consumer.consumer
import aiokafka.consumer.fetcher
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import KafkaTimeoutError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.fetching import (
    BrokersAwayError,
    Fetcher,
    FetchProgress,
    LenientRecords,
    install,
)
from sluicegate.pipeline.observe.lag import ReadPlace
from support.gaps import RawName

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, TWO = TopicPartition("posts", 0), TopicPartition("posts", 1)


class Positions:
    """An assignment of aiokafka's, with positions set by hand."""

    def __init__(self, positions: dict[TopicPartition, int | None]) -> None:
        self.active = True
        self.tps = set(positions)
        self.states = {one: TopicPartitionState(self) for one in positions}
        for one, position in positions.items():
            if position is not None:
                self.states[one].seek(position)

    def state_value(self, partition: TopicPartition) -> TopicPartitionState:
        return self.states[partition]


def progress(
    positions: dict[TopicPartition, int | None], ends: Callable[..., Any] | None = None
) -> tuple[FetchProgress, Positions]:
    assignment = Positions(positions)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    consumer: Any = SimpleNamespace(_subscription=subscription, _fetcher=SimpleNamespace(end_offsets=ends))
    return FetchProgress(consumer), assignment


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


async def test_nothing_is_committed_past_the_last_acknowledged_record() -> None:
    found, assignment = progress({ONE: 0})
    assignment.states[ONE].consumed_to(12)
    found.fetched({ONE: records(3, 4, 9)})
    assert found.committable({}) == {}
    assert found.committable({ONE: 4}) == {ONE: 4}
    assert found.committable({ONE: 5}) == {ONE: 5}


async def test_once_all_is_acknowledged_the_commit_passes_what_stands_behind() -> None:
    found, assignment = progress({ONE: 0})
    assignment.states[ONE].consumed_to(12)
    found.fetched({ONE: records(3, 4, 9)})
    assert found.committable({ONE: 10}) == {ONE: 12}


async def test_a_partition_that_holds_nothing_but_markers_is_committed_as_well() -> None:
    found, assignment = progress({ONE: 5, TWO: None})
    assignment.states[ONE].consumed_to(8)
    found.fetched({})
    assert found.committable({}) == {ONE: 8}


async def test_a_new_assignment_remembers_nothing_of_the_old() -> None:
    found, assignment = progress({ONE: 0})
    found.fetched({ONE: records(3)})
    assignment.states[ONE] = TopicPartitionState(assignment)
    assert found.committable({}) == {}, "its position is not known yet"
    assignment.states[ONE].seek(2)
    assert found.committable({}) == {}, "nothing was fetched from there yet"
    found.fetched({})
    assert found.committable({}) == {ONE: 2}


async def test_a_seek_back_takes_nothing_from_what_was_acknowledged() -> None:
    found, assignment = progress({ONE: 0})
    found.fetched({ONE: records(3)})
    assignment.states[ONE].seek(1)
    assert found.committable({ONE: 4}) == {ONE: 4}


async def test_a_partition_that_is_read_anew_is_committed_from_there() -> None:
    found, assignment = progress({ONE: 0})
    found.fetched({ONE: records(99)})
    assignment.states[ONE].seek(0)
    found.reset(ONE, cut=True)
    assert found.committable({}) == {}
    found.fetched({})
    assert found.committable({}) == {ONE: 0}


async def test_without_an_assignment_there_is_nothing_to_commit() -> None:
    found, assignment = progress({ONE: 5})
    assignment.active = False
    assert found.committable({ONE: 7}) == {}


async def test_a_place_is_the_position_beside_the_end() -> None:
    async def ends(partitions: list[TopicPartition], timeout_ms: float) -> dict[TopicPartition, int]:
        assert timeout_ms == 2000
        return dict.fromkeys(partitions, 9)

    found, _ = progress({ONE: 5, TWO: None}, ends)
    assert await found.places(within_s=2) == {("posts", 0): ReadPlace(5, 9), ("posts", 1): ReadPlace(None, 9)}


async def test_brokers_that_do_not_answer_are_told_from_a_stall() -> None:
    async def ends(_partitions: list[TopicPartition], _timeout_ms: float) -> dict[TopicPartition, int]:
        raise KafkaTimeoutError("no answer")

    found, _ = progress({ONE: 5}, ends)
    with pytest.raises(BrokersAwayError, match="KafkaTimeoutError"):
        await found.places(within_s=2)


def test_once_installed_the_consumer_finds_our_fetcher_and_our_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiokafka.consumer.consumer, "Fetcher", None)
    monkeypatch.setattr(aiokafka.consumer.fetcher, "MemoryRecords", None)
    install()
    assert aiokafka.consumer.consumer.Fetcher is Fetcher
    assert aiokafka.consumer.fetcher.MemoryRecords is LenientRecords


def batch(codec: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 10_000)
    for offset in range(4):
        name = RawName(b"\xff ok") if offset == 2 else "ok"
        assert builder.append(offset, 1000 + offset, b"key", b"value %d" % offset, [(name, b"1")])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", range(5))
def test_a_name_that_is_no_utf8_is_escaped_and_everything_else_stays(codec: int) -> None:
    answer = LenientRecords(batch(codec) + batch(codec))
    for _ in range(2):
        assert answer.has_next()
        one = answer.next_batch()
        assert one.validate_crc()
        assert (one.base_offset, one.next_offset, one.is_control_batch) == (0, 4, False)
        latest = {record.offset: record for record in one}
        assert [record.value for record in latest.values()] == [b"value %d" % n for n in range(4)]
        assert [record.headers for record in latest.values()] == [
            [("ok", b"1")],
            [("ok", b"1")],
            [(r"\xff ok", b"1")],
            [("ok", b"1")],
        ]
        assert [record.timestamp for record in latest.values()] == [1000, 1001, 1002, 1003]
    assert answer.next_batch() is None


def test_the_checksum_of_a_corrupt_batch_is_still_found_wrong() -> None:
    raw = bytearray(batch())
    raw[-8] ^= 0xFF
    (one,) = [LenientRecords(bytes(raw)).next_batch()]
    assert not one.validate_crc()


async def test_a_fetch_that_failed_after_it_had_moved_on_moves_no_commit() -> None:
    found, assignment = progress({ONE: 10, TWO: 10})
    found.fetched({})
    assignment.states[ONE].consumed_to(15)  # drained, and then another partition's batch could not be read
    assert found.committable({}) == {ONE: 10, TWO: 10}
    found.fetched({ONE: records(10, 14)})
    assert found.committable({ONE: 15}) == {ONE: 15, TWO: 10}


@pytest.mark.parametrize(("found", "told"), [(0, [(ONE, 1000, 0)]), (1000, [])], ids=["reset", "sought"])
async def test_a_reset_is_told_and_a_seek_to_the_same_place_is_none(
    monkeypatch: pytest.MonkeyPatch, found: int, told: list[Any]
) -> None:
    assignment = Positions({ONE: 1000})
    state = assignment.states[ONE]

    async def out_of_range(*_: object) -> bool:
        state.await_reset(0)
        return True

    async def positioned(*_: object) -> bool:
        state.seek(found)
        return True

    real = Fetcher.__mro__[1]
    monkeypatch.setattr(real, "_proc_fetch_request", out_of_range)
    monkeypatch.setattr(real, "_update_fetch_positions", positioned)
    fetcher: Any = object.__new__(Fetcher)
    fetcher._out_of_range = WeakKeyDictionary()
    resets: list[Any] = []
    fetcher.on_reset = lambda *reset: resets.append(reset)
    await fetcher._proc_fetch_request(assignment, 0, SimpleNamespace(topics=[("posts", [(0, 1000, 1)])]))
    await fetcher._update_fetch_positions(assignment, 0, [ONE])
    assert resets == told


async def test_what_was_fetched_and_never_taken_is_not_committed_past() -> None:
    found, assignment = progress({ONE: 0, TWO: 0})
    assignment.states[ONE].consumed_to(12)
    found.fetched({ONE: records(3, 4, 9), TWO: records(0)})
    found.fetched({ONE: records(10, 11)})
    found.require_taken({})
    found.require_taken({ONE: 3, TWO: 0})
    with pytest.raises(ClusterError, match=r"records 3 to 8 of posts/0 were fetched and never taken"):
        found.require_taken({ONE: 9, TWO: 0})
    found.reset(ONE, cut=True)
    found.require_taken({ONE: 9})


async def test_a_partition_without_a_commit_is_read_again_from_its_first_record() -> None:
    found, assignment = progress({ONE: 0, TWO: 0})
    assignment.states[ONE].consumed_to(12)
    assert found.uncommitted({ONE: None}) == {}
    found.fetched({ONE: records(3, 4), TWO: records(0)})
    found.fetched({ONE: records(9)})
    assert found.uncommitted({ONE: None, TWO: 7}) == {ONE: 3}
    assert found.uncommitted({ONE: 4, TWO: 0}) == {TWO: 0}


async def test_records_fetched_before_a_cut_are_told_from_those_read_anew() -> None:
    found, assignment = progress({ONE: 0, TWO: 0})
    found.fetched({ONE: records(5, 6), TWO: records(1)})
    assert found.cuts_at_fetch == {}
    before = found.cuts_at_fetch
    found.reset(ONE, cut=True)
    assert found.cuts_at_fetch == {}  # nothing was fetched since
    found.fetched({ONE: records(0)})
    assert (before.get(("posts", 0), 0), found.cuts_at_fetch["posts", 0]) == (0, 1)
    assert found.cuts_at_fetch.get(("posts", 1), 0) == 0
    found.require_taken({ONE: 0})
    assignment.active = False
    found.reset(ONE, cut=True)  # its partition is gone: nothing to forget
    found.fetched({})
    assert found.cuts_at_fetch["posts", 0] == 2


async def test_records_that_retention_took_before_they_were_read_again_are_not_waited_for() -> None:
    found, _ = progress({ONE: 0})
    found.fetched({ONE: records(0, 1)})  # dropped in a rebalance; then retention moved the log's beginning
    found.reset(ONE, cut=False)
    found.fetched({ONE: records(100)})
    found.require_taken({ONE: 100})
    assert found.uncommitted({}) == {ONE: 100}
    assert found.cuts_at_fetch.get(("posts", 0), 0) == 0
