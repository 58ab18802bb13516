"""What the publisher makes of each report, with a producer that a test can script. The broker's side: test_publisher.py."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluicegate.pipeline.errors import PublishError
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.kafka import publisher as publisher_module
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.pipeline.observe.holds import Holds
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.demo.run import DemoReplay
from sluicegate.schemas import ReasonCode, Rejection
from unit.pipeline.fakes import MemoryDelivery
from unit.pipeline.test_records import NOW

if TYPE_CHECKING:
    from collections.abc import Callable


class Delivered:
    """Where a record is, as librdkafka tells it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0


class ScriptedProducer:
    """Reports each record as the script says; what is beyond the script is delivered."""

    script: deque[KafkaError | BufferError | KafkaException | None]
    made: list[ScriptedProducer]

    def __init__(self, config: dict[str, Any], **_logger: Any) -> None:
        self.config = config
        self.produced: list[bytes] = []
        self._reports: list[Callable[[], None]] = []
        self.made.append(self)

    def produce(
        self, topic: str, value: bytes, _key: bytes, *, on_delivery: Callable[[Any, Any], None], **_: Any
    ) -> None:
        said = self.script.popleft() if self.script else None
        if isinstance(said, BufferError | KafkaException):
            raise said
        self.produced.append(value)
        self._reports.append(lambda: on_delivery(said, Delivered(topic)))

    def poll(self, _timeout_s: float) -> int:
        time.sleep(0.001)  # the poll thread turns as fast as this returns
        reports, self._reports = self._reports, []
        for report in reports:
            report()
        return len(reports)

    def flush(self, _timeout_s: float) -> int:
        return 0


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> deque[Any]:
    ScriptedProducer.script = deque()
    ScriptedProducer.made = []
    monkeypatch.setattr("confluent_kafka.Producer", ScriptedProducer)
    monkeypatch.setattr(publisher_module, "_RETRY_FIRST_S", 0.01)
    return ScriptedProducer.script


def record(payload: bytes = b"{") -> Record:
    rejection = Rejection(ReasonCode.INVALID_JSON, "not JSON")
    letter = bury(MemoryDelivery(0, payload), rejection, payload_bytes=10**6, now=NOW)
    return Record("posts.deadletter", b"key", letter, ())


async def publish(*records: Record) -> list[tuple[str, bool]]:
    """Publish; the holds that were declared and cleared meanwhile."""
    changes: list[tuple[str, bool]] = []
    holds = Holds(asyncio.get_running_loop().time, lambda name, holding: changes.append((name, holding)))
    async with asyncio.timeout(20), Publisher(KafkaSettings(), holds, flush_s=1) as sink:
        await sink.publish(records)
    return changes


async def test_the_producer_is_idempotent_and_waits_for_all_replicas(script: deque[Any]) -> None:
    await publish(record())
    (producer,) = ScriptedProducer.made
    assert producer.config["enable.idempotence"] is True
    assert producer.config["acks"] == "all"


async def test_a_delivered_record_is_no_hold(script: deque[Any]) -> None:
    assert await publish(record(), record()) == []


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._MSG_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ],
)
async def test_a_failed_delivery_is_a_hold_and_the_record_is_sent_again(
    script: deque[Any], code: int
) -> None:
    script.extend([None, KafkaError(code), KafkaError(code)])
    assert await publish(record(), record(b"[")) == [("publish", True), ("publish", False)]
    (producer,) = ScriptedProducer.made
    assert len(producer.produced) == 4  # the first once, the second three times


async def test_a_refusal_before_anything_is_sent_is_a_hold_as_well(script: deque[Any]) -> None:
    script.append(KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC)))
    assert await publish(record()) == [("publish", True), ("publish", False)]


async def test_a_full_queue_is_waited_out(script: deque[Any]) -> None:
    script.extend([BufferError(), BufferError()])
    assert await publish(record()) == []


@pytest.mark.parametrize("error", [KafkaError(KafkaError._FATAL), KafkaError(47, "fenced", fatal=True)])
async def test_a_producer_that_is_dead_for_good_ends_the_worker(
    script: deque[Any], error: KafkaError
) -> None:
    script.append(error)
    with pytest.raises(PublishError, match="must start again"):
        await publish(record())


async def test_a_record_too_large_even_alone_is_cut_and_sent_again(script: deque[Any]) -> None:
    too_large = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    script.extend([too_large, too_large, too_large])
    assert await publish(record(b"x" * 1000)) == []
    together, alone = ScriptedProducer.made
    assert len(together.produced) == 1
    assert alone.config["batch.num.messages"] == 1
    sizes = [len(value) for value in alone.produced]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3  # whole, half, a quarter


async def test_a_record_that_was_only_refused_for_its_company_is_not_cut(script: deque[Any]) -> None:
    script.append(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    await publish(record(b"x" * 1000))
    together, alone = ScriptedProducer.made
    assert alone.produced == together.produced


def test_what_is_sent_to_a_producer_that_is_closed_or_closing_is_refused_at_once(script: deque[Any]) -> None:
    producer = Producer(KafkaSettings())
    reports: list[Placed | Refused] = []

    def again(outcome: Placed | Refused) -> None:
        reports.append(outcome)
        assert producer.send("posts", b"while it closes", report=reports.append)

    producer.send("posts", b"before", report=again)
    (client,) = ScriptedProducer.made
    client.flush = lambda _timeout_s: client.poll(0) and 0  # type: ignore[method-assign]
    producer.close(0.0)
    assert producer.send("posts", b"after", report=reports.append)
    closed = Refused("_DESTROY", fatal=True)
    assert reports == [Placed("posts", 0, 0), closed, closed]
    assert client.produced == [b"before"]


def test_a_demo_goes_on_with_the_same_record_once_the_queue_has_room(script: deque[Any]) -> None:
    script.extend([None, BufferError()])
    replay = DemoReplay(KafkaSettings(), "posts", [b"1", b"2", b"3"], ahead=9)
    replay.top_up(0)
    assert (replay.sent, replay.done) == (1, False)
    replay.top_up(0)
    (client,) = ScriptedProducer.made
    assert client.produced == [b"1", b"2", b"3"]
    assert (replay.sent, replay.done) == (3, True)
