"""The control topic's edge, without a broker: it waits for nobody, and stands in nobody's way."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import pytest
import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.control import topic as control
from sluicegate.pipeline.control.topic import ControlTopic
from sluicegate.pipeline.errors import ClusterError, SettingsError, StartError
from sluicegate.pipeline.facts import Lease, Poison
from sluicegate.pipeline.flow.breaker import Breaker
from sluicegate.pipeline.flow.servers import Servers, prompt_name
from sluicegate.pipeline.kafka import check as cluster_probe
from sluicegate.pipeline.kafka.check import ClusterFacts, TopicFacts
from sluicegate.pipeline.kafka.onlooker import TopicShape
from sluicegate.pipeline.kafka.producer import Placed, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.topics import SHARED_PARTITION
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy.rules import BlockBreaker
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.switch import Switch
from sluicegate.schemas import CATEGORIES
from unit.pipeline.shortcuts.test_switch import TURN
from unit.pipeline.test_facts import POLICY, TRIP, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.pipeline.kafka.reader import TopicRecord

Script = list[Any]
"""What a reader does in turn: give records, raise, or give nothing until an event is set."""


class ScriptedReader:
    """A reader that plays a script, once for all that are opened."""

    script: ClassVar[Script] = []
    away: ClassVar[list[ClusterError]] = []
    """Raised in turn by who asks whether the brokers answer."""
    incarnations: ClassVar[list[str | None]] = [None]
    """Which topic of its name is read, each time that it is read to its end."""

    def __init__(self, *_given: Any, **_named: Any) -> None:
        pass

    def __enter__(self) -> Self:
        if self.script and isinstance(self.script[0], ClusterError):
            raise self.script.pop(0)
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    @property
    def at_end(self) -> bool:
        return not self.script

    def look(self, *, within_s: float) -> None:
        assert within_s > 0
        if self.away:
            raise self.away.pop(0)

    def incarnation(self, topic: str) -> str | None:
        assert topic == "sluicegate.control"
        return self.incarnations.pop(0) if len(self.incarnations) > 1 else self.incarnations[0]

    def read(self, _timeout_s: float) -> list[TopicRecord]:
        if not self.script:
            return []
        if isinstance(slot := self.script[0], threading.Event) and not slot.wait(0.001):
            return []
        step = self.script.pop(0)
        if isinstance(step, threading.Event):
            return []
        if isinstance(step, Exception):
            raise step
        found: list[TopicRecord] = step
        return found


class Table:
    """A control topic over a script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
        self.away: list[ClusterError] = []
        self.incarnations: list[str | None] = [None]
        given = {"script": script, "away": self.away, "incarnations": self.incarnations}
        reader = type("Reader", (ScriptedReader,), given)
        monkeypatch.setattr(control, "TopicReader", reader)
        monkeypatch.setattr(control, "_READ_S", 0.001)
        monkeypatch.setattr(control, "_AGAIN_S", 0.005)
        self.metrics = Metrics()
        self.breaker = Breaker(Clock(), self.metrics)
        self.breaker.use(POLICY)
        self.switch = Switch(ScreenSettings(), Clock(), self.metrics, TURN.screen)
        self.servers = Servers(Clock())
        backend = Backend(FakeEngine(), fake_prompter(), CATEGORIES, server="http://one")
        self.server = self.servers.of(backend)
        self.topic = ControlTopic(Settings(), self.breaker, self.metrics, self.switch, self.servers)

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sluicegate_{name}")


async def until(ready: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not ready():
            await asyncio.sleep(0.001)


async def test_what_is_known_already_is_known_before_the_first_post(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, [[record(b"x", b"junk")], [record(TRIP.key, TRIP.encode())]])
    async with table.topic:
        assert table.topic.state == "followed"
        assert table.breaker.open == {"forum": TRIP}
    assert table.metric("control_topic_followed") == 1
    assert table.metric("control_records_refused_total") == 1


async def test_a_topic_that_cannot_be_had_is_told_once_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = "topic sluicegate.control is not there, or not for this user; `sluicegate topics create` makes it"
    table = Table(monkeypatch, [ClusterError(away), ClusterError(away), ClusterError("another reason")])
    with structlog.testing.capture_logs() as logs:
        async with table.topic:
            await until(lambda: table.topic.state == "followed")
    said = [one["why"] for one in logs if one["event"] == "control_topic_not_followed"]
    assert said == [away, "another reason"]


async def test_poison_that_another_worker_found_is_known_before_the_first_post(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, other = prompt_name("score", b"a key"), prompt_name("score", b"another")
    poison = Poison(
        state="open", generation=0, at=Clock().utc(), by="a worker", why="it ended the engine", prompt=name
    )
    aside = poison.model_copy(update={"prompt": other, "certain": False})
    table = Table(monkeypatch, [[record(one.key, one.encode()) for one in (poison, aside)]])
    async with table.topic:
        await until(lambda: table.server.state.prompts.is_poison(name))
        assert table.server.state.prompts.is_aside(other)
        assert not table.server.state.prompts.is_poison(other)
        assert table.server.state.lease.lending


async def test_workers_that_cannot_hear_one_another_agree_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, [ClusterError("away")])
    monkeypatch.setattr(control, "_AGAIN_S", 3600.0)
    async with table.topic:
        assert not table.server.state.lease.lending


async def test_no_screen_answers_before_anybody_knows_whether_it_was_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(monkeypatch, [ClusterError("away")])
    monkeypatch.setattr(control, "_AGAIN_S", 3600.0)
    async with table.topic:
        assert table.topic.state == "away"
        assert table.switch.is_off(TURN.screen)
        assert table.metric("screen_off") == 0  # no alarm: nobody switched it off
    read = Table(monkeypatch, [])
    async with read.topic:
        assert not read.switch.is_off(TURN.screen)
    told = Table(monkeypatch, [[record(TURN.key, TURN.encode())]])
    async with told.topic:
        assert told.switch.is_off(TURN.screen)
        assert told.metric("screen_off") == 1


async def test_no_screen_answers_once_nobody_can_know_any_more_whether_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script: Script = []
    table = Table(monkeypatch, script)
    async with table.topic:
        assert not table.switch.is_off(TURN.screen)
        monkeypatch.setattr(control, "_AGAIN_S", 1.0)
        script.append(ClusterError("gone"))
        await until(lambda: table.topic.state == "gone")
        assert table.switch.is_off(TURN.screen)
        await until(lambda: table.topic.state == "followed")
        assert not table.switch.is_off(TURN.screen)


async def test_brokers_that_say_nothing_are_no_brokers_that_say_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(monkeypatch, [])
    monkeypatch.setattr(control, "_LOOK_EVERY_S", 0.0)
    async with table.topic:
        await until(lambda: table.topic.state == "followed")
        monkeypatch.setattr(control, "_AGAIN_S", 1.0)
        table.away.append(ClusterError("nobody answers"))
        await until(lambda: table.topic.state == "nobody answers")
        assert table.switch.is_off(TURN.screen)
        assert table.metric("control_topic_followed") == 0
        await until(lambda: table.topic.state == "followed")
        assert not table.switch.is_off(TURN.screen)


async def test_what_is_cleared_together_is_forgotten_together_and_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = TRIP.model_copy(update={"tenant": "teens"})
    records = [
        record(TRIP.key, TRIP.encode()),
        record(again.key, again.encode()),
        record(TRIP.key, None),
        record(again.key, None),
        record(TRIP.key, TRIP.encode()),
    ]
    table = Table(monkeypatch, [records])
    shown: list[int] = []
    monkeypatch.setattr(table.breaker, "_show", lambda: shown.append(len(table.breaker.open)))
    async with table.topic:
        await until(lambda: table.topic.state == "followed")
        assert table.breaker.open == {"forum": TRIP}
    assert shown == [2, 0, 1]  # once for each group, not for each record


async def test_a_fault_of_ours_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, [RuntimeError("the text of a post"), [record(TRIP.key, TRIP.encode())]])
    with structlog.testing.capture_logs() as logs:
        async with table.topic:
            await until(lambda: table.breaker.open)
    (lost,) = [one for one in logs if one["event"] == "control_topic_not_followed"]
    assert "RuntimeError" in lost["why"]
    assert "the text of a post" not in lost["why"]


async def test_a_tombstone_counts_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    again = TRIP.model_copy(update={"tenant": "teens"})
    records = [
        record(TRIP.key, TRIP.encode()),
        record(again.key, again.encode()),
        record(TRIP.key, None),
    ]
    table = Table(monkeypatch, [records])
    async with table.topic:
        assert table.breaker.open.keys() == {"teens"}


class ScriptedProducer:
    """Fails to deliver until told otherwise."""

    fails = 2

    def __init__(self) -> None:
        self.given: list[tuple[bytes, bytes]] = []
        self._reports: list[Callable[[], None]] = []

    def send(self, topic: str, value: bytes, key: bytes, *, report: Any, partition: int) -> bool:
        assert partition == SHARED_PARTITION
        self.given.append((key, value))
        self.fails -= 1
        outcome = Refused("TOPIC_AUTHORIZATION_FAILED") if self.fails >= 0 else Placed(topic, 0, 0)
        self._reports.append(lambda: report(outcome))
        return True

    def poll(self) -> None:
        reports, self._reports = self._reports, []
        for report in reports:
            report()

    def flush(self, _timeout_s: float) -> None:
        self.poll()


async def test_a_trip_is_told_until_the_brokers_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, [])
    producer = ScriptedProducer()
    table.topic._producer = cast("Any", producer)  # the client itself is tried on Apache Kafka
    limits = BlockBreaker(share=None, count=0)
    with structlog.testing.capture_logs() as logs:
        async with table.topic:
            assert table.breaker.admit("forum", limits, POLICY, blocked=True) is not None
            await until(lambda: len(producer.given) == 3)
    (key,) = {key for key, _ in producer.given}
    assert key == table.breaker.open["forum"].key
    assert [one["why"] for one in logs if one["event"] == "trip_not_shared"] == [
        "TOPIC_AUTHORIZATION_FAILED"
    ] * 2


async def test_a_producer_that_refuses_at_once_is_asked_again_only_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing(ScriptedProducer):
        def send(self, topic: str, value: bytes, key: bytes, *, report: Any, partition: int) -> bool:
            del topic, partition
            self.given.append((key, value))
            report(Refused("MSG_SIZE_TOO_LARGE"))
            return True

    table = Table(monkeypatch, [])
    monkeypatch.setattr(control, "_AGAIN_S", 3600.0)
    producer = Refusing()
    table.topic._producer = cast("Any", producer)
    limits = BlockBreaker(share=None, count=0)
    async with table.topic:
        for tenant in ("forum", "teens"):
            assert table.breaker.admit(tenant, limits, POLICY, blocked=True) is not None
        await until(lambda: producer.given)
    assert len(producer.given) == 1


async def test_a_producer_that_can_deliver_nothing_any_more_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ended(ScriptedProducer):
        closed = False

        def send(self, topic: str, value: bytes, key: bytes, *, report: Any, partition: int) -> bool:
            del topic, value, key, partition
            self._reports.append(lambda: report(Refused("_FATAL", fatal=True)))
            return True

        def close(self, _timeout_s: float) -> None:
            self.closed = True

    table = Table(monkeypatch, [])
    ended, good = Ended(), ScriptedProducer()
    good.fails = 0
    monkeypatch.setattr(control, "Producer", lambda _kafka: good)
    table.topic._producer = cast("Any", ended)
    async with table.topic:
        assert table.breaker.admit("forum", BlockBreaker(share=None, count=0), POLICY, blocked=True)
        await until(lambda: good.given)
    assert ended.closed
    assert [key for key, _ in good.given] == [table.breaker.open["forum"].key]


async def test_a_trip_whose_producer_cannot_be_made_is_told_later_by_the_same_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, good = Table(monkeypatch, [ClusterError("gone")]), ScriptedProducer()
    good.fails = 0
    faults: list[Exception] = [SettingsError("no token"), KafkaException(KafkaError(KafkaError._INVALID_ARG))]

    def make(_kafka: Any) -> ScriptedProducer:
        if faults:
            raise faults.pop()
        return good

    monkeypatch.setattr(control, "Producer", make)
    async with table.topic:
        assert table.breaker.admit("forum", BlockBreaker(share=None, count=0), POLICY, blocked=True)
        await until(lambda: good.given)
    assert [key for key, _ in good.given] == [table.breaker.open["forum"].key]


async def test_a_claim_that_was_not_delivered_is_not_told_late(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, [])
    producer = ScriptedProducer()
    table.topic._producer = cast("Any", producer)
    lease = Lease(
        state="open",
        generation=0,
        at=Clock().utc(),
        by="a worker",
        why="a text may end the engine",
        server=prompt_name("score", b"a server"),
        holder="a worker",
    )
    table.topic._outbox.put(lease)
    table.topic._outbox.put(TRIP)
    async with table.topic:
        await until(lambda: len(producer.given) == 3)
    assert [key for key, _ in producer.given] == [lease.key, TRIP.key, TRIP.key]


def test_a_worker_starts_without_a_right_on_the_control_topic_and_not_without_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings()

    def lacking(topic: str) -> None:
        facts = ClusterFacts(brokers=1, topics={topic: TopicFacts(1, operations=frozenset({"Describe"}))})
        monkeypatch.setattr(cluster_probe, "probe_cluster", lambda _settings, **_: facts)
        cluster_probe.require_rights(settings)

    lacking(settings.topics.control)
    with pytest.raises(StartError, match=r"lacks Write on verdicts\.block"):
        lacking(settings.topics.block)


@pytest.mark.parametrize(
    ("code", "away"),
    [
        (KafkaError.NOT_LEADER_FOR_PARTITION, False),
        (KafkaError._TIMED_OUT, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
    ],
)
def test_a_broker_that_is_not_the_leader_any_more_does_answer(
    monkeypatch: pytest.MonkeyPatch, code: int, away: bool
) -> None:
    def asked(_place: Any, *, timeout: float) -> None:
        assert timeout == 3.0
        raise KafkaException(KafkaError(code))

    consumer = SimpleNamespace(
        assignment=lambda: [TopicPartition("control", 0)],
        position=lambda places: places,
        get_watermark_offsets=asked,
    )
    reader = reader_of(monkeypatch, consumer, [TopicShape(1, None)])
    with pytest.raises(ClusterError) if away else nullcontext():
        reader.look(within_s=3.0)


class ScriptedConsumer:
    """Holds one partition, read up to an offset."""

    def __init__(self, *, read: int = 5, end: int = 5) -> None:
        self.places = [TopicPartition("control", 0, read)]
        self._end = end

    def assignment(self) -> list[TopicPartition]:
        return self.places

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return places

    def get_watermark_offsets(self, _place: TopicPartition, *, timeout: float) -> tuple[int, int]:
        assert timeout == 3.0
        return 0, self._end

    def incremental_assign(self, added: list[TopicPartition]) -> None:
        self.places += added


def reader_of(monkeypatch: pytest.MonkeyPatch, consumer: Any, shapes: list[TopicShape | None]) -> TopicReader:
    reader = TopicReader(Settings().kafka, ["control"], start="beginning")
    monkeypatch.setattr(reader, "_consumer", consumer)
    monkeypatch.setattr(reader, "_shapes", SimpleNamespace(ask=lambda _topic, **_: shapes.pop(0)))
    monkeypatch.setattr("sluicegate.pipeline.kafka.reader.why_unreachable", lambda _kafka, name: name)
    return reader


def test_partitions_that_were_added_are_read_from_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = ScriptedConsumer()
    reader = reader_of(monkeypatch, consumer, [TopicShape(1, "a"), None, TopicShape(3, "a")])
    for _ in range(2):
        reader.look(within_s=3.0)
        assert reader.at_end
    reader.look(within_s=3.0)
    assert not reader.at_end
    added = [(one.partition, one.offset) for one in consumer.places[1:]]
    assert added == [(1, OFFSET_BEGINNING), (2, OFFSET_BEGINNING)]


@pytest.mark.parametrize(
    ("first", "second", "end", "again"),
    [
        (TopicShape(1, "a"), TopicShape(1, "a"), 5, False),
        (TopicShape(1, "a"), TopicShape(1, "b"), 5, True),
        (TopicShape(1, "a"), TopicShape(1, None), 5, False),  # a broker of another version answered
        (TopicShape(1, None), TopicShape(1, None), 4, True),
        (TopicShape(1, None), TopicShape(0, None), 5, True),
    ],
)
def test_a_topic_that_was_made_again_is_no_topic_that_was_read(
    monkeypatch: pytest.MonkeyPatch, first: TopicShape, second: TopicShape, end: int, again: bool
) -> None:
    reader = reader_of(monkeypatch, ScriptedConsumer(), [first, second])
    reader.look(within_s=3.0)
    reader_now = reader_of(monkeypatch, ScriptedConsumer(end=end), [second])
    monkeypatch.setattr(reader_now, "_known", {"control": first})
    with pytest.raises(ClusterError, match="made again") if again else nullcontext():
        reader_now.look(within_s=3.0)


async def test_a_worker_that_reads_new_partitions_does_not_say_that_it_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script: Script = []
    table = Table(monkeypatch, script)
    monkeypatch.setattr(control, "_LOOK_EVERY_S", 0.0)
    async with table.topic:
        await until(lambda: table.topic.state == "followed")
        script.append(read := threading.Event())
        await until(lambda: "new partitions" in table.topic.state)
        assert table.metric("control_topic_followed") == 0
        assert table.switch.is_off(TURN.screen)
        read.set()
        await until(lambda: table.topic.state == "followed")
        assert table.metric("control_topic_followed") == 1


async def lose(table: Table) -> None:
    """Have the topic lost once, and found again."""
    table.away.append(ClusterError("gone"))
    await until(lambda: not table.away)
    await until(lambda: table.topic.state == "gone")
    await until(lambda: table.topic.state == "followed")


async def test_what_a_topic_knew_that_was_deleted_is_told_to_the_one_made_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [[record(TRIP.key, TRIP.encode()), record(TURN.key, TURN.encode())]]
    table = Table(monkeypatch, known)
    monkeypatch.setattr(control, "_LOOK_EVERY_S", 0.0)
    table.incarnations[:] = ["a", "a", "b"]
    producer = ScriptedProducer()
    producer.fails = 0
    table.topic._producer = cast("Any", producer)
    async with table.topic:
        await until(lambda: table.topic.state == "followed")
        await lose(table)
        assert producer.given == []  # the same topic: it knows already
        await lose(table)
        await until(lambda: len(producer.given) == 2)
    assert {key for key, _ in producer.given} == {TRIP.key, TURN.key}
