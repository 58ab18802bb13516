"""Posts to the brokers: what is sent, and that nobody is left without an answer about it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.client import ClientClosedError, KafkaSettings, NotDeliveredError, Post, PostProducer, Receipt
from sluicegate.pipeline.client import producer as producer_module
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.schemas import decode_post
from support.collector import read
from unit.pipeline.client_fakes import KAFKA, TOPICS, Cluster, FakeProducer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(30)
NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(producer_module, "Producer", lambda *_args, **_options: FakeProducer(made))
    return made


async def test_posts_arrive_with_their_key_and_headers_and_the_receipt_says_where() -> None:
    post = Post(id="forum/7#3", text="Wann öffnet die Bücherei?", language="de", metadata={"board": 7})
    async with EmbeddedBroker([TOPICS.posts]) as broker:
        async with PostProducer(KafkaSettings(bootstrap_servers=broker.address), TOPICS) as producer:
            receipt = await producer.send(post, headers=[("traceparent", b"00-1-2-01")])
        (record,) = await asyncio.to_thread(read, broker.address, [TOPICS.posts])
    assert record.key == b"forum/7#3"
    assert record.headers == {"traceparent": b"00-1-2-01"}
    assert decode_post(orjson.dumps(record.body)) == post
    assert (receipt.topic, receipt.partition, receipt.offset) == (
        TOPICS.posts,
        record.partition,
        record.offset,
    )


async def test_every_submitted_post_is_reported_once_before_the_context_is_left() -> None:
    outcomes: list[Receipt | NotDeliveredError] = []
    async with EmbeddedBroker([TOPICS.posts]) as broker:

        def publish() -> None:
            with PostProducer(KafkaSettings(bootstrap_servers=broker.address), TOPICS) as producer:
                for number in range(500):
                    producer.submit(Post(id=str(number), text="x"), outcomes.append)

        await asyncio.to_thread(publish)
        found = await asyncio.to_thread(read, broker.address, [TOPICS.posts])
    assert {one.post_id for one in outcomes} == {str(number) for number in range(500)}
    assert all(isinstance(one, Receipt) for one in outcomes)
    assert len(outcomes) == len(found) == 500


def test_a_broker_that_is_not_there_is_reported_not_waited_for() -> None:
    outcomes: list[Receipt | NotDeliveredError] = []
    with PostProducer(NOWHERE, TOPICS, flush_s=0.1) as producer:
        producer.submit(Post(id="a", text="x"), outcomes.append)
        assert producer.flush(0.01) == 1
    (outcome,) = outcomes
    assert isinstance(outcome, NotDeliveredError)
    assert (outcome.post_id, outcome.fatal) == ("a", False)


def test_a_full_queue_makes_the_submitter_wait_and_then_tells_it() -> None:
    with PostProducer(NOWHERE, TOPICS, queue_records=2, flush_s=0) as producer:
        for number in range(2):
            producer.submit(Post(id=str(number), text="x"), lambda _outcome: None)
        with pytest.raises(NotDeliveredError, match=r"post third .*_QUEUE_FULL"):
            producer.submit(Post(id="third", text="x"), lambda _outcome: None, timeout_s=0.05)


async def test_a_full_queue_lets_the_sender_wait(cluster: Cluster) -> None:
    cluster.full = 3
    async with PostProducer(KAFKA, TOPICS) as producer:
        await producer.send(Post(id="a", text="x"))
    assert len(cluster.sent) == 1


async def test_a_larger_post_than_the_worker_takes_is_refused_here(cluster: Cluster) -> None:
    async with PostProducer(KAFKA, TOPICS, post_bytes=1000) as producer:
        with pytest.raises(NotDeliveredError, match="the limit is 1000") as told:
            await producer.send(Post(id="a", text="hostile " * 200))
        with pytest.raises(NotDeliveredError):
            producer.submit(Post(id="a", text="hostile " * 200), lambda _outcome: None)
    assert "hostile" not in str(told.value)
    assert str(told.value).endswith("shorten it: no worker judges a longer one")
    assert cluster.sent == []


async def test_a_refused_post_raises_with_kafkas_own_name_of_the_fault(cluster: Cluster) -> None:
    cluster.refusal = Refused("_FATAL", fatal=True)
    async with PostProducer(KAFKA, TOPICS) as producer:
        with pytest.raises(NotDeliveredError, match="_FATAL") as told:
            await producer.send(Post(id="a", text="x"))
    assert told.value.fatal


async def test_who_still_waits_when_the_context_is_left_is_told(cluster: Cluster) -> None:
    cluster.silent = True
    async with PostProducer(KAFKA, TOPICS) as producer:
        sender = asyncio.create_task(producer.send(Post(id="a", text="x")))
        await asyncio.sleep(0.01)
    with pytest.raises(NotDeliveredError, match="_PURGE_QUEUE"):
        await sender


async def test_a_report_for_a_cancelled_sender_is_dropped(cluster: Cluster) -> None:
    cluster.silent = True
    async with PostProducer(KAFKA, TOPICS) as producer:
        sender = asyncio.create_task(producer.send(Post(id="a", text="x")))
        await asyncio.sleep(0.01)
        sender.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sender
    await asyncio.sleep(0)


@pytest.mark.parametrize("use", [lambda p: p.flush(1), lambda p: p.submit(Post(id="a", text="x"), print)])
def test_outside_its_context_it_sends_nothing(use: Callable[[PostProducer], None]) -> None:
    with pytest.raises(ClientClosedError, match="inside `with`"):
        use(PostProducer(KAFKA, TOPICS))


async def test_a_callback_that_fails_is_logged_without_its_message_and_the_next_is_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = threading.Event()

    def fail(_outcome: Placed | Refused) -> None:
        raise ValueError("a hostile text")

    async with EmbeddedBroker([TOPICS.posts]) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        producer = Producer(kafka, queue_records=10, linger_ms=0, polls=True)
        producer.send(TOPICS.posts, b"1", b"a", report=fail)
        await asyncio.to_thread(producer.flush, 10)
        producer.send(TOPICS.posts, b"2", b"b", report=lambda _outcome: called.set())
        assert await asyncio.to_thread(called.wait, 10)
        await asyncio.to_thread(producer.close, 1)
    assert "a delivery callback failed: ValueError at" in caplog.text
    assert "hostile" not in caplog.text
