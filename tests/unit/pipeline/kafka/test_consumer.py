"""The consumer over a stand-in for its client: what it hands on, where it begins, and what it commits."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from confluent_kafka import KafkaError

from sluicegate.pipeline.errors import ClusterError, SettingsError
from sluicegate.pipeline.kafka.assignment import (
    UNREADABLE,
    Chunk,
    Reset,
    incarnation_of,
    place,
)
from sluicegate.pipeline.kafka.consumer import GroupConsumer
from sluicegate.pipeline.kafka.unreachable import Cause
from sluicegate.pipeline.settings.tree import KafkaSettings
from support.fake_group import TOPIC, FakeClient, FakeCluster, FakeMessage, FakeShapes, fault, records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sluicegate.pipeline.records import Partition

ONE = (TOPIC, 0)
MOST_RECORDS, MOST_BYTES = 500, 100_000


class Case:
    """A consumer over a fake client, and what it told."""

    newest: ClassVar[Case]

    def __init__(self, **bounds: tuple[int, int]) -> None:
        Case.newest = self
        self.cluster = FakeCluster({int(number[1:]): bound for number, bound in bounds.items()})
        self.client: FakeClient
        self.chunks: list[Chunk] = []
        self.resets: list[tuple[Partition, Reset]] = []
        self.assignments: list[tuple[Partition, ...]] = []
        self.drained = 0
        self.moving: list[bool] = []
        """Whether partitions were told to come or go, at each drain."""
        self.given = 0
        self.losses = 0
        self.logins: list[str | None] = []
        self.finishes = True
        """Whether a drain finishes what was handed on."""
        self.consumer = GroupConsumer(
            KafkaSettings(commit_interval_s=0.01, session_timeout_s=6),
            TOPIC,
            most_records=MOST_RECORDS,
            most_bytes=MOST_BYTES,
            listener=self,
            make_client=self.make_client,
        )

    def make_client(self, options: dict[str, Any], **_options: Any) -> FakeClient:
        self.client = FakeClient(self.cluster, options)
        return self.client

    async def hand_on(self, chunks: Sequence[Chunk]) -> None:
        self.chunks += chunks

    async def hand_over(self) -> None:
        self.drained += 1
        self.moving.append(self.consumer.rebalancing)
        for chunk in self.chunks:
            chunk.assignment.taken = max(chunk.assignment.taken, chunk.deliveries[-1].offset + 1)
            if self.finishes:
                for delivery in chunk.deliveries:
                    delivery.acknowledge()

    def assigned(self, partitions: Sequence[Partition], *, given: bool) -> None:
        self.assignments.append(tuple(partitions))
        self.given += given

    def lost(self) -> None:
        self.losses += 1

    def was_reset(self, partition: Partition, reset: Reset) -> None:
        self.resets.append((partition, reset))

    def login_told(self, reason: str | None) -> None:
        self.logins.append(reason)

    @property
    def offsets(self) -> list[int]:
        return [delivery.offset for chunk in self.chunks for delivery in chunk.deliveries]

    async def until(self, true: Callable[[], Any]) -> None:
        while not true():
            await asyncio.sleep(0.001)

    async def taken_at(self, number: int) -> int:
        """Where a partition begins, once it does."""
        await self.until(
            lambda: any(what == "assign" and number in where for what, where in self.client.told)
        )
        found: int = [
            where[number] for what, where in self.client.told if what == "assign" and number in where
        ][-1]
        return found

    @asynccontextmanager
    async def running(self, *numbers: int) -> AsyncIterator[asyncio.Future[None]]:
        """Run it with partitions; it has left without a fault at the end, unless the test stopped it."""
        async with asyncio.timeout(60):
            ended = self.consumer.start()
            await asyncio.to_thread(self.client.subscribed.wait, 5)
            self.client.rebalances("on_assign", *numbers)
            await self.until(lambda: self.assignments)
            yield ended
            if not self.client.closed.is_set():
                self.consumer.stop()
                await ended
            assert self.client.closed.is_set()


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sluicegate.pipeline.kafka.onlooker.TopicShapes", lambda _kafka, client: FakeShapes(client.cluster)
    )
    monkeypatch.setattr("confluent_kafka.Consumer", lambda _config: FakeClient(Case.newest.cluster, {}))


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets whose logs were asked about; of offset 7 the log has diverged."""
    offsets: list[int] = []

    def diverged(_kafka: Any, commits: Sequence[Any], *, within_s: float) -> set[Partition]:
        assert within_s > 0
        offsets.extend(one.offset for one in commits)
        return {(one.topic, one.partition) for one in commits if one.offset == 7}

    monkeypatch.setattr("sluicegate.pipeline.kafka.partitions.diverged", diverged)
    return offsets


@pytest.mark.parametrize(("embedded", "begin", "resets"), [(False, 0, 1), (True, 7, 0)])
async def test_a_log_that_was_cut_and_has_grown_past_the_commit_is_known_by_its_epoch(
    asked: list[int], embedded: bool, begin: int, resets: int
) -> None:
    case = Case(p0=(0, 9), p1=(0, 9), p2=(0, 9))
    case.cluster.incarnation, case.cluster.embedded = None, embedded  # of brokers that name none
    case.cluster.commits = {0: place(ONE, 7, None, 3), 1: place((TOPIC, 1), 5, None)}
    async with case.running(0, 1, 2):
        assert case.client.told[0] == ("assign", {0: begin, 1: 5, 2: 0})
        assert asked == ([] if embedded else [7])  # the embedded broker knows no epochs
        assert len(case.resets) == resets


async def test_records_go_on_by_the_chunk_and_are_committed_as_they_are_acknowledged() -> None:
    case = Case(p0=(0, 10), p1=(0, 10))
    async with case.running(0, 1):
        assert case.assignments == [((TOPIC, 0), (TOPIC, 1))]
        case.client.meets([*records(0, 0, 4), *records(1, 0, 2)])
        await case.until(lambda: len(case.offsets) == 6)
        assert sorted(case.offsets) == [0, 0, 1, 1, 2, 3]
        first = next(chunk for chunk in case.chunks if chunk.assignment.partition == ONE)
        delivery = first.deliveries[0]
        assert (delivery.partition, delivery.offset, delivery.key, delivery.value) == (ONE, 0, b"k", b"v")
        assert (delivery.headers, delivery.timestamp_ms, delivery.is_current) == ((), 1_500, True)
        delivery.acknowledge()
        await case.until(lambda: case.cluster.history)
    assert case.cluster.history[0] == (0, 1)
    assert {number: one.offset for number, one in case.cluster.commits.items()} == {0: 4, 1: 2}  # drained
    assert case.drained >= 1


async def test_a_member_without_partitions_has_joined_and_leaves() -> None:
    case = Case()
    async with case.running():
        assert case.assignments == [()]
    assert case.drained == 0


@pytest.mark.parametrize(("stamp", "found"), [((0, 0), None), ((1, -1), None), ((1, 0), 0), ((2, 7), 7)])
async def test_a_record_without_a_timestamp_has_none(stamp: tuple[int, int], found: int | None) -> None:
    case = Case(p0=(0, 1))
    async with case.running(0):
        case.client.meets([FakeMessage(0, 0, stamp=stamp)])
        await case.until(lambda: case.chunks)
        assert case.chunks[0].deliveries[0].timestamp_ms == found


@pytest.mark.parametrize(
    "broken",
    [SystemError("returned a result with an exception set"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")],
)
async def test_headers_that_the_client_cannot_read_are_a_value(broken: Exception) -> None:
    case = Case(p0=(0, 2))
    async with case.running(0):
        case.client.meets([FakeMessage(0, 0, named=broken), FakeMessage(0, 1, named=[("a", b"1")])])
        await case.until(lambda: len(case.offsets) == 2)
        assert [one.headers for chunk in case.chunks for one in chunk.deliveries] == [
            UNREADABLE,
            (("a", b"1"),),
        ]


async def test_a_log_whose_beginning_has_gone_since_a_commit_at_its_first_record_is_told() -> None:
    case = Case(p0=(10, 20))
    case.cluster.commits[0] = place(ONE, 0, "one")
    async with case.running(0):
        assert await case.taken_at(0) == 10
        assert case.resets == [(ONE, Reset("missed", 0, 10))]


async def test_who_goes_on_from_a_commit_names_its_epoch_and_who_begins_elsewhere_does_not() -> None:
    case = Case(p0=(0, 9), p1=(0, 9), p2=(0, 9))
    case.cluster.commits = {0: place(ONE, 5, "one", 3), 1: place((TOPIC, 1), 5, "an older one", 3)}
    async with case.running(0, 1, 2):
        assert case.client.told[0] == ("assign", {0: 5, 1: 0, 2: 0})
        assert case.client.epochs == {0: 3, 1: None, 2: None}


async def test_a_reset_is_committed_before_anything_is_handed_on() -> None:
    case = Case(p0=(0, 3))
    case.cluster.commits[0] = place(ONE, 700, "one")
    async with case.running(0):
        assert case.cluster.history == [(0, 0)]
        assert await case.taken_at(0) == 0
        assert case.resets == [(ONE, Reset("cut", 700, 0))]


async def test_nothing_is_handed_on_while_a_reset_cannot_be_committed() -> None:
    case = Case(p0=(0, 3))
    case.cluster.commits[0] = place(ONE, 700, "one")
    case.cluster.refuses = True
    async with case.running(0):
        await asyncio.sleep(0.2)
        assert {what for what in case.client.told if what[1]} == set()
        case.cluster.refuses = False
        assert await case.taken_at(0) == 0
        assert case.cluster.history == [(0, 0)]


async def test_a_topic_made_again_is_read_from_its_beginning_though_its_offsets_fit() -> None:
    case = Case(p0=(0, 900))
    case.cluster.commits[0] = place(ONE, 700, "an older one")
    async with case.running(0):
        assert await case.taken_at(0) == 0
        assert case.resets == [(ONE, Reset("made again", 700, 0))]
        assert incarnation_of(case.cluster.commits[0]) == "one"


async def test_a_topic_made_again_under_a_running_member_is_begun_again() -> None:
    case = Case(p0=(0, 10))
    async with case.running(0):
        case.client.meets(records(0, 0, 5))
        await case.until(lambda: len(case.offsets) == 5)
        old = list(case.chunks[0].deliveries)
        old[0].acknowledge()
        await case.until(lambda: case.cluster.history == [(0, 1)])
        case.cluster.incarnation = "two"
        case.consumer.begin_again([ONE])
        await case.until(lambda: case.resets)
        assert case.resets == [(ONE, Reset("made again", 1, 0))]
        for one in old:
            assert not one.is_current
            one.acknowledge()
        await asyncio.sleep(0.05)
        assert case.cluster.commits[0].offset == 0
        case.client.meets(records(0, 0, 2))
        await case.until(lambda: len(case.offsets) == 7)
        case.chunks = case.chunks[-1:]
        case.chunks[0].deliveries[0].acknowledge()
        await case.until(lambda: case.cluster.commits[0].offset == 1)
        assert incarnation_of(case.cluster.commits[0]) == "two"


@pytest.mark.parametrize(
    "code", [KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE]
)
async def test_a_log_that_is_cut_under_a_running_member_is_read_from_its_beginning(code: int) -> None:
    case = Case(p0=(0, 700))
    async with case.running(0):
        case.client.meets(records(0, 0, 6))
        await case.until(lambda: len(case.offsets) == 6)
        held = list(case.chunks[0].deliveries)
        case.cluster.bounds[0] = (0, 3)
        case.client.meets([fault(code, 0, 6)])
        await case.until(lambda: case.resets)
        assert case.resets == [(ONE, Reset("cut", 6, 0))]
        for one in held:
            one.acknowledge()  # an ended assignment's
        await asyncio.sleep(0.05)
        assert case.cluster.commits[0].offset == 0
        assert ("unassign", {0}) in case.client.told


async def test_what_retention_takes_from_a_running_member_is_counted_from_where_it_stood() -> None:
    case = Case(p0=(0, 700))
    async with case.running(0):
        case.client.meets(records(0, 0, 6))
        await case.until(lambda: len(case.offsets) == 6)
        case.cluster.bounds[0] = (300, 700)
        case.client.meets([fault(KafkaError._AUTO_OFFSET_RESET, 0, 6)])
        await case.until(lambda: case.resets)
        assert case.resets == [(ONE, Reset("missed", 6, 300))]
        await case.until(lambda: ("assign", {0: 300}) in case.client.told)
        assert case.cluster.history == []
        # What was in hand can be read nowhere any more: it is judged and acknowledged as before.
        case.client.meets(records(0, 300, 302))
        await case.until(lambda: len(case.offsets) == 8)
        assert all(one.is_current for chunk in case.chunks for one in chunk.deliveries)
        assert [chunk.number for chunk in case.chunks] == [1, 2]
        for chunk in case.chunks:
            for delivery in chunk.deliveries:
                delivery.acknowledge()
        await case.until(lambda: case.cluster.history and case.cluster.history[-1] == (0, 302))


async def test_partitions_that_go_are_drained_and_committed_before_they_go() -> None:
    case = Case(p0=(0, 9), p1=(0, 9))
    async with case.running(0, 1):
        case.client.meets([*records(0, 0, 3), *records(1, 0, 2)])
        await case.until(lambda: len(case.offsets) == 5)
        case.client.rebalances("on_revoke", 0)
        await case.until(lambda: len(case.assignments) == 2)
        assert case.drained == 1
        assert case.assignments[-1] == ((TOPIC, 1),)
        assert case.cluster.commits[0].offset == 3
        assert case.client.told[-1] == ("unassign", {0})
        assert case.given == 1
        gone = [one for chunk in case.chunks for one in chunk.deliveries if one.partition == ONE]
        assert not any(one.is_current for one in gone)
        before = list(case.cluster.history)
        gone[-1].acknowledge()
        await asyncio.sleep(0.05)
        assert case.cluster.history == before


async def test_while_partitions_come_or_go_it_says_so() -> None:
    case = Case(p0=(0, 9), p1=(0, 9))
    async with case.running(0, 1):
        case.client.rebalances("on_revoke", 0)
        await case.until(lambda: len(case.assignments) == 2)
        assert case.moving == [True]
        await case.until(lambda: not case.consumer.rebalancing)
        assert case.consumer.rebalancing is False


async def test_what_was_given_back_of_a_partition_that_stays_is_read_again() -> None:
    case = Case(p0=(0, 9), p1=(0, 9))
    case.finishes = False
    async with case.running(0, 1):
        case.client.meets([*records(0, 0, 3), *records(1, 0, 4)])
        await case.until(lambda: len(case.offsets) == 7)
        stays = next(chunk for chunk in case.chunks if chunk.assignment.partition == (TOPIC, 1))
        stays.deliveries[0].acknowledge()
        case.cluster.leaderless = {1}  # so that it cannot begin at once
        case.client.rebalances("on_revoke", 0)
        await case.until(lambda: not stays.assignment.is_current)
        stays.deliveries[3].acknowledge()  # it came after what was given back
        await asyncio.sleep(0.05)
        assert case.cluster.commits[1].offset == 1
        case.cluster.leaderless = set()
        await case.until(lambda: ("assign", {1: 1}) in case.client.told)
        assert not stays.deliveries[1].is_current
        assert case.resets == []
        case.finishes = True
        case.chunks = []


async def test_lost_partitions_are_neither_drained_nor_committed() -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        case.client.meets(records(0, 0, 3))
        await case.until(lambda: len(case.offsets) == 3)
        case.client.rebalances("on_lost", 0)
        await case.until(lambda: case.losses == 1)
        for one in case.chunks[0].deliveries:
            one.acknowledge()
        await asyncio.sleep(0.05)
        assert (case.drained, case.cluster.history, case.consumer.assignments) == (0, [], {})


async def test_a_member_that_learns_with_its_end_that_it_was_thrown_out_has_finished_what_it_held() -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        case.client.meets(records(0, 0, 3))
        await case.until(lambda: len(case.offsets) == 3)
        case.client.is_lost = True
        case.consumer.stop()
        await case.until(case.client.closed.is_set)
        await case.until(lambda: case.losses == 1)
    assert case.drained == 1
    assert case.cluster.commits[0].offset == 3


async def test_a_partition_without_a_leader_is_asked_about_twice_a_second_at_most() -> None:
    case = Case(p0=(0, 9))
    case.cluster.leaderless = {0}
    async with case.running(0):
        began = time.monotonic()
        await asyncio.sleep(0.3)
        assert 1 <= case.client.watermarks <= 2 + 2 * (time.monotonic() - began)


async def test_brokers_that_are_away_when_partitions_come_are_asked_again() -> None:
    case = Case(p0=(0, 9), p1=(0, 9))
    case.cluster.away = True
    async with case.running(0, 1):
        assert case.client.told[0] == ("assign", {})  # or the client would assign them by itself
        assert [one.is_current for one in case.consumer.assignments.values()] == [False, False]
        case.cluster.away = False
        assert {await case.taken_at(0), await case.taken_at(1)} == {0}


async def test_credentials_that_are_away_when_partitions_come_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(p0=(0, 9))
    case.cluster.commits = {0: place(ONE, 5, "one", 3)}

    def ask(*_: Any, **__: Any) -> Any:
        raise SettingsError("the callback gave no token")

    with monkeypatch.context() as away:
        away.setattr("sluicegate.pipeline.kafka.partitions.diverged", ask)
        async with case.running(0):
            assert case.client.told[0] == ("assign", {})
            away.undo()
            assert await case.taken_at(0) == 5


async def test_a_partition_that_cannot_begin_holds_up_no_other() -> None:
    case = Case(p0=(0, 9), p1=(0, 9), p2=(0, 9))
    async with case.running(0):
        case.cluster.leaderless = {1}
        case.client.rebalances("on_assign", 1, 2)
        assert await case.taken_at(2) == 0
        case.client.meets([*records(0, 0, 2), *records(2, 0, 2)])
        await case.until(lambda: len(case.offsets) == 4)
        assert not case.consumer.assignments[TOPIC, 1].is_current  # it waits, and stalls in the end
        case.cluster.leaderless = set()
        assert await case.taken_at(1) == 0


async def test_a_stop_while_brokers_are_away_waits_for_nobody() -> None:
    case = Case(p0=(0, 9))
    case.cluster.away = True
    async with asyncio.timeout(5):
        ended = case.consumer.start()
        await asyncio.to_thread(case.client.subscribed.wait, 5)
        case.client.rebalances("on_assign", 0)
        await case.until(lambda: case.consumer.assignments)
        case.cluster.away = False
        case.consumer.stop()
        await ended
    assert case.client.closed.is_set()


async def test_partitions_that_come_in_the_midst_of_a_stop_are_told_to_nobody() -> None:
    case = Case(p0=(0, 9))
    async with asyncio.timeout(5):
        ended = case.consumer.start()
        await asyncio.to_thread(case.client.subscribed.wait, 5)
        case.consumer.stop()
        case.client.rebalances("on_assign", 0)
        await ended
    assert case.assignments == []


async def test_a_commit_that_names_a_topic_waits_until_the_brokers_name_theirs() -> None:
    case = Case(p0=(0, 900))
    case.cluster.commits[0] = place(ONE, 700, "an older one")
    case.cluster.incarnation = None  # for a moment
    async with case.running(0):
        assert case.client.told[0] == ("assign", {})
        case.cluster.incarnation = "one"
        assert await case.taken_at(0) == 0
        assert case.resets == [(ONE, Reset("made again", 700, 0))]


async def test_a_pause_does_not_outlive_its_assignment() -> None:
    case = Case(p0=(0, 900))
    async with case.running(0):
        case.client.meets([FakeMessage(0, offset, body=b"x" * 30_000) for offset in range(4)])
        await case.until(lambda: ("pause", {0}) in case.client.told)
        case.client.rebalances("on_lost", 0)
        await case.until(lambda: case.losses == 1)
        for chunk in list(case.chunks):
            case.consumer.took(chunk)
        case.client.rebalances("on_assign", 0)
        await case.until(lambda: case.client.told[-1] == ("resume", {0}))


async def test_a_flow_without_room_pauses_its_partitions_and_goes_on_when_it_has_some() -> None:
    case = Case(p0=(0, 900))
    async with case.running(0):
        case.client.meets([FakeMessage(0, offset, body=b"x" * 30_000) for offset in range(4)])
        await case.until(lambda: ("pause", {0}) in case.client.told)
        case.client.meets(records(0, 4, 5))
        await case.until(lambda: len(case.offsets) == 5)  # the group still hears of us
        for chunk in list(case.chunks):
            case.consumer.took(chunk)
        await case.until(lambda: ("resume", {0}) in case.client.told)
        assert case.client.told.count(("pause", {0})) == 1


async def test_short_records_fill_the_buffer_by_their_number() -> None:
    case = Case(p0=(0, 900))
    async with case.running(0):
        case.client.meets(records(0, 0, MOST_RECORDS))
        await case.until(lambda: ("pause", {0}) in case.client.told)
        assert len(case.offsets) == MOST_RECORDS
        assert sum(chunk.size_bytes for chunk in case.chunks) < MOST_BYTES
        for chunk in list(case.chunks):
            case.consumer.took(chunk)
        await case.until(lambda: ("resume", {0}) in case.client.told)


async def test_a_refused_commit_is_tried_again() -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        case.client.meets(records(0, 0, 1))
        await case.until(lambda: case.chunks)
        case.cluster.refuses = True
        case.chunks[0].deliveries[0].acknowledge()
        await asyncio.sleep(0.05)
        assert case.cluster.history == []
        case.cluster.refuses = False
        await case.until(lambda: case.cluster.history == [(0, 1)])


@pytest.mark.parametrize(
    ("met", "told"),
    [
        (fault(KafkaError._BAD_MSG, 0, 5), "posts/0 at offset 5 cannot be read"),
        (fault(KafkaError._BAD_COMPRESSION, 0, 5), "posts/0 at offset 5 cannot be read"),
        (fault(KafkaError.TOPIC_AUTHORIZATION_FAILED), "this member of the group is dead"),
        (fault(KafkaError.GROUP_AUTHORIZATION_FAILED), "this member of the group is dead"),
        (fault(KafkaError._FATAL), "this member of the group is dead"),
        (FakeMessage(0, 0), "record 0 of posts/0 came after 4"),
    ],
)
async def test_what_a_member_cannot_go_on_with_ends_it_with_a_sentence(met: FakeMessage, told: str) -> None:
    case = Case(p0=(0, 9))
    async with case.running(0) as ended:
        case.client.meets(records(0, 0, 5))
        await case.until(lambda: len(case.offsets) == 5)
        case.client.meets([met])
        with pytest.raises(ClusterError, match=told):
            await ended


async def test_a_group_of_another_release_is_told_with_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    async with case.running():
        case.client.meets([fault(KafkaError.INCONSISTENT_GROUP_PROTOCOL)])
        await case.until(lambda: "workers of another release are in the group sluicegate" in caplog.text)


async def test_what_passes_is_told_once_until_the_end_is_seen_again(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(p0=(0, 9))
    trouble = fault(KafkaError.UNKNOWN_TOPIC_OR_PART)

    def told() -> int:
        return sum("UNKNOWN_TOPIC_OR_PART" in one.getMessage() for one in caplog.records)

    async with case.running(0):
        case.client.meets([trouble] * 50)
        await case.until(case.client.script.empty)
        await asyncio.sleep(0.02)
        assert told() == 1
        case.client.meets([fault(KafkaError._PARTITION_EOF, 0, 0), trouble])
        await case.until(lambda: told() == 2)


@pytest.mark.parametrize(("name", "static"), [(None, None), ("worker-3", "worker-3")])
async def test_the_client_is_configured_as_the_settings_say(name: str | None, static: str | None) -> None:
    options = GroupConsumer(
        KafkaSettings(group="g", instance_id=name, session_timeout_s=45, rebalance_timeout_s=90),
        TOPIC,
        most_records=MOST_RECORDS,
        most_bytes=MOST_BYTES,
        listener=Case(),
    ).options()
    assert options.get("group.instance.id") == static
    wanted = {
        "group.id": "g",
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "check.crcs": True,
        "session.timeout.ms": 45_000,
        "max.poll.interval.ms": 90_000,
        "heartbeat.interval.ms": 1_000,
        "queued.min.messages": 2_000,
        "max.partition.fetch.bytes": 262_144,
    }
    assert wanted.items() <= options.items()


@pytest.mark.parametrize(
    ("session_s", "most_bytes", "heartbeat_ms", "fetched_kib"),
    [(1.5, 100_000, 500, 1_024), (45, 20_000 * 1024, 1_000, 20_000), (45, 10**9, 1_000, 65_536)],
)
async def test_heartbeats_and_what_is_fetched_ahead_have_bounds(
    session_s: float, most_bytes: int, heartbeat_ms: int, fetched_kib: int
) -> None:
    options = GroupConsumer(
        KafkaSettings(session_timeout_s=session_s),
        TOPIC,
        most_records=MOST_RECORDS,
        most_bytes=most_bytes,
        listener=Case(),
    ).options()
    assert options["heartbeat.interval.ms"] == heartbeat_ms
    assert options["queued.max.messages.kbytes"] == fetched_kib


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the credentials want another client, once for each True in it."""
    wanted: list[bool] = []
    monkeypatch.setattr(
        "sluicegate.pipeline.kafka.credentials.Credentials.look",
        lambda _self, _client: bool(wanted) and wanted.pop(),
    )
    return wanted


async def test_another_client_joins_once_everything_of_the_one_before_is_answered_and_committed(
    due: list[bool],
) -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        first = case.client
        first.meets(records(0, 0, 3))
        await case.until(lambda: case.offsets == [0, 1, 2])
        due.append(True)
        await case.until(lambda: case.client is not first and case.client.subscribed.is_set())
        assert first.closed.is_set()
        assert case.drained
        assert case.cluster.history[-1] == (0, 3)
        case.client.rebalances("on_assign", 0)
        assert await case.taken_at(0) == 3
        case.client.meets(records(0, 3, 5))
        await case.until(lambda: case.offsets == [0, 1, 2, 3, 4])


async def test_another_client_commits_though_the_one_before_answered_its_last_commit_to_nobody(
    due: list[bool],
) -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        first = case.client
        first.meets(records(0, 0, 1))
        await case.until(lambda: case.chunks)
        commit = first.commit

        def unanswered(offsets: Any, asynchronous: bool) -> Any:
            due.append(True)
            return None if asynchronous else commit(offsets, asynchronous=False)

        first.commit = unanswered  # type: ignore[method-assign]
        case.chunks[0].deliveries[0].acknowledge()
        await case.until(lambda: case.client is not first and case.client.subscribed.is_set())
        due.clear()
        case.client.rebalances("on_assign", 0)
        assert await case.taken_at(0) == 1
        case.client.meets(records(0, 1, 2))
        await case.until(lambda: case.offsets == [0, 1])
        case.chunks[1].deliveries[0].acknowledge()
        await case.until(lambda: case.cluster.history[-1] == (0, 2))


async def test_a_file_that_goes_before_another_client_is_made_ends_no_member(
    due: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(p0=(0, 9))
    async with case.running(0):
        first = case.client

        def gone() -> dict[str, Any]:
            raise SettingsError("the certificate cannot be read")

        monkeypatch.setattr(case.consumer, "options", gone)
        due.append(True)
        await case.until(lambda: not due)
        first.meets(records(0, 0, 3))
        await case.until(lambda: case.offsets == [0, 1, 2])
        assert case.client is first
        assert not first.closed.is_set()


async def test_a_refused_login_is_told_to_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(p0=(0, 9))
    cause = Cause("not with this password", "")
    ends: list[Cause | None] = [None, cause]
    monkeypatch.setattr(case.consumer._credentials, "_attempt", lambda _kafka: ends.pop())
    monkeypatch.setattr("sluicegate.pipeline.kafka.credentials._TRY_EVERY_S", 0.0)
    async with case.running(0):
        case.client.options["error_cb"](KafkaError(KafkaError._AUTHENTICATION))
        await case.until(lambda: len(case.logins) == 2)
    assert case.logins == ["login refused: not with this password", None]
