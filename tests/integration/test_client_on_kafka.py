"""The Python client on Apache Kafka: many callers at once, timeouts, faults of brokers, commits after success."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from sluicegate.client import (
    Action,
    Client,
    DeadLetteredError,
    HandlerError,
    KafkaSettings,
    NoVerdictError,
    Post,
    PostProducer,
    TopicSettings,
    Verdict,
    VerdictConsumer,
)
from sluicegate.pipeline.kafka.reader import Tail
from sluicegate.schemas import content_hash, encode
from support.collector import committed
from support.kafka import ApacheKafka
from support.workers import open_lane, until
from unit.pipeline.client_fakes import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from confluent_kafka import KafkaError

    from support.workers import Lane

pytestmark = pytest.mark.kafka

CALLERS = 50
RULES = {"[bad]": "unsafe", "[odd]": "controversial", "": "safe"}
EXPECTED = {"[bad]": Action.BLOCK, "[odd]": Action.REVIEW, "[good]": Action.ALLOW}


def cluster_of(lane: Lane) -> tuple[KafkaSettings, TopicSettings]:
    """What a client of this lane is opened with."""
    topics = TopicSettings(posts=lane.posts, control=f"{lane.prefix}.control", **lane.outputs)
    return KafkaSettings(bootstrap_servers=lane.bootstrap), topics


@pytest.fixture(scope="module")
def judged(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """One worker with a fake engine for the module; each test has post ids of its own."""
    with open_lane(kafka, tmp_path_factory.mktemp("client"), partitions=3) as lane:
        lane.set_fake(rules=RULES)
        lane.start({"limits.post_bytes": "4096"}).wait_ready()
        yield lane


def the_clients_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sluicegate-")]


async def test_fifty_callers_at_once_each_get_the_verdict_on_their_own_post(judged: Lane) -> None:
    marks = list(EXPECTED)
    async with Client(*cluster_of(judged)) as client:

        async def call(caller: int) -> None:
            for turn in range(10):
                mark = marks[(caller + turn) % len(marks)]
                # Ids are shared between callers: the text tells whose verdict it is.
                post = Post(id=f"shared-{caller % 5}-{turn}", text=f"{mark} caller {caller}, turn {turn}")
                reply = await client.judge(post, timeout_s=60)
                assert reply.verdict is not None
                assert reply.verdict.content_hash == content_hash(post)
                assert reply.verdict.post_id == post.id
                assert reply.action is reply.verdict.action is EXPECTED[mark]

        async with asyncio.TaskGroup() as callers:
            for caller in range(CALLERS):
                callers.create_task(call(caller))
        assert client.waiting == 0
        assert client._waiting._callers == {}
    assert the_clients_threads() == []


async def test_callers_who_waited_in_vain_get_their_own_mode_and_nothing_is_left_behind(judged: Lane) -> None:
    modes: list[Any] = ["allow", "review", "block", "raise"]
    judged.set_faults(slow={"marker": "[slow]", "delay_s": 3})
    try:
        async with Client(*cluster_of(judged)) as client:
            patient = asyncio.create_task(client.judge(Post(id="slow", text="[slow] last"), timeout_s=60))
            calls = [
                client.judge(
                    Post(id=f"slow-{caller}", text=f"[slow] {caller}"),
                    timeout_s=0.5,
                    on_timeout=modes[caller % len(modes)],
                )
                for caller in range(CALLERS)
            ]
            replies = await asyncio.gather(*calls, return_exceptions=True)
            for caller, reply in enumerate(replies):
                mode = modes[caller % len(modes)]
                if mode == "raise":
                    assert isinstance(reply, NoVerdictError)
                    assert reply.post_id == f"slow-{caller}"
                else:
                    assert not isinstance(reply, BaseException)
                    assert (reply.action, reply.verdict) == (Action(mode), None)
            assert client.waiting == 1
            # Their verdicts come later, like that of the one who waits longer, and are nobody's.
            assert (await patient).verdict is not None
            judged.set_faults()
            later = await client.judge(Post(id="slow-0", text="[bad] another text"), timeout_s=60)
            assert later.action is Action.BLOCK
            assert client._waiting._callers == {}
    finally:
        judged.set_faults()
    assert the_clients_threads() == []


async def test_cancelled_callers_leave_nothing_behind_and_the_others_are_answered(judged: Lane) -> None:
    async with Client(*cluster_of(judged)) as client:
        callers = [
            asyncio.create_task(
                client.judge(Post(id=f"cancel-{number}", text=f"text {number}"), timeout_s=60)
            )
            for number in range(CALLERS)
        ]
        await asyncio.sleep(0)
        for caller in callers[::2]:
            caller.cancel()
        replies = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(reply, asyncio.CancelledError) for reply in replies[::2])
        assert not any(isinstance(reply, BaseException) for reply in replies[1::2])
        assert client._waiting._callers == {}


async def test_a_buried_post_wakes_its_caller_with_the_reason(judged: Lane) -> None:
    async with Client(*cluster_of(judged)) as client:
        with pytest.raises(DeadLetteredError, match="4096") as told:
            await client.judge(Post(id="large", text="x" * 5000), timeout_s=60, on_timeout="allow")
        assert told.value.code == "oversize"
        assert client.waiting == 0


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_whatever_a_producer_compresses_with_the_worker_reads_it(judged: Lane, codec: str) -> None:
    post = Post(id=f"compressed-{codec}", text=f"{codec} " * 300)
    async with Client(*cluster_of(judged)) as client:
        with client._waiting.expect(post) as answer:
            producer = Producer(
                {"bootstrap.servers": judged.bootstrap, "compression.type": codec, "log_level": 2}
            )
            producer.produce(judged.posts, encode(post), post.id)
            assert await asyncio.to_thread(producer.flush, 30) == 0
            async with asyncio.timeout(60):
                assert isinstance(await answer, Verdict)


@pytest.mark.slow
async def test_a_broker_that_is_killed_and_comes_back_costs_no_caller_its_verdict(tmp_path: Path) -> None:
    cluster = await asyncio.to_thread(lambda: ApacheKafka().__enter__())
    try:
        with open_lane(cluster, tmp_path, partitions=3) as lane:
            lane.set_fake(rules=RULES)
            await asyncio.to_thread(lane.start().wait_ready)
            async with Client(*cluster_of(lane)) as client:
                assert (await client.judge(Post(id="before", text="x"), timeout_s=60)).verdict
                cluster.kill()
                down = [
                    asyncio.create_task(client.judge(Post(id=f"down-{n}", text=f"[bad] {n}"), timeout_s=120))
                    for n in range(20)
                ]
                in_vain = await client.judge(Post(id="vain", text="x"), timeout_s=1, on_timeout="block")
                assert in_vain.timed_out
                await asyncio.to_thread(cluster.restart)
                assert {(await one).action for one in down} == {Action.BLOCK}
                assert client.waiting == 0
    finally:
        cluster.stop()


async def read_three(tail: Tail, scenario: Callable[[], None]) -> list[bytes]:
    """The first three records that a tail gives, which the scenario opened."""
    found: list[bytes] = []

    def all_read() -> bool:
        found.extend(one.value or b"" for one in tail.read(0.2))
        return len(found) >= 3

    def read() -> None:
        scenario()
        until("all are read", all_read, within_s=60)

    try:
        await asyncio.to_thread(read)
    finally:
        tail.close()
    return sorted(found)


async def test_what_is_produced_right_after_the_opening_is_read_and_nothing_older(kafka: ApacheKafka) -> None:
    kafka.create_topic("opening", 3)
    tail = Tail(KafkaSettings(bootstrap_servers=kafka.bootstrap), ["opening"])
    producer = Producer({"bootstrap.servers": kafka.bootstrap})

    def produce(name: str) -> None:
        for number in range(3):
            producer.produce("opening", f"{name}-{number}".encode(), partition=number)
        assert producer.flush(30) == 0

    def scenario() -> None:
        produce("before")
        tail.open()
        produce("after")  # nothing was fetched yet

    assert await read_three(tail, scenario) == [b"after-0", b"after-1", b"after-2"]


async def test_partitions_that_are_added_later_are_read_from_their_beginning(kafka: ApacheKafka) -> None:
    kafka.create_topic("growing", 1)
    tail = Tail(KafkaSettings(bootstrap_servers=kafka.bootstrap), ["growing"], look_every_s=0.2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "topic.metadata.refresh.interval.ms": 200})

    def scenario() -> None:
        producer.produce("growing", b"before", partition=0)
        producer.flush(30)
        tail.open()
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.create_partitions([NewPartitions("growing", 3)])["growing"].result(30)
        until(
            "the producer sees them",
            lambda: len(producer.list_topics("growing", 5).topics["growing"].partitions) == 3,
            within_s=30,
        )
        for number in range(3):
            producer.produce("growing", b"after-%d" % number, partition=number)
        producer.flush(30)

    assert await read_three(tail, scenario) == [b"after-0", b"after-1", b"after-2"]


async def test_a_failing_handler_commits_nothing_and_the_next_consumer_gets_the_verdict(lane: Lane) -> None:
    kafka, topics = cluster_of(lane)
    group = f"{lane.prefix}.feed"
    producer = Producer({"bootstrap.servers": lane.bootstrap})
    for name in ("first", "poison", "last"):
        producer.produce(topics.allow, encode(verdict(name)), name)
    assert producer.flush(30) == 0
    seen = []

    async def choke(one: Verdict) -> None:
        seen.append(one.post_id)
        if one.post_id == "poison":
            raise OSError("the database is away")

    async with asyncio.timeout(60):
        async with VerdictConsumer(group, kafka, topics, attempts=2, pause_s=0.01) as consumer:
            with pytest.raises(HandlerError, match="post poison"):
                await consumer.run(choke)
        assert seen == ["first", "poison", "poison"]
        assert await asyncio.to_thread(committed, lane.bootstrap, group, topics.allow) == {0: 1}

        async with VerdictConsumer(group, kafka, topics) as consumer:

            def settle(one: Verdict) -> None:
                seen.append(one.post_id)
                if one.post_id == "last":
                    consumer.stop()

            await consumer.run(settle)
        assert seen[3:] == ["poison", "last"]
        assert await asyncio.to_thread(committed, lane.bootstrap, group, topics.allow) == {0: 3}


def put(kafka: ApacheKafka, topic: str, name: str, partition: int) -> None:
    """A verdict on a partition, which may be so new that a broker does not know it yet, and a producer for long."""
    refused: list[KafkaError | None] = [None]

    def note(error: KafkaError | None, _message: Any) -> None:
        refused[0] = error

    def stands() -> bool:
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        producer.produce(topic, encode(verdict(name)), name, partition, on_delivery=note)
        return producer.flush(30) == 0 and refused[0] is None

    until(f"{name} on {topic}", stands, within_s=30)


async def test_a_group_that_began_at_the_end_misses_nothing_from_then_on(kafka: ApacheKafka) -> None:
    topics = TopicSettings(allow="ended.allow", review="ended.review", block="ended.block")
    for topic in topics.outputs[:3]:
        kafka.create_topic(topic, 1)
    cluster, group = KafkaSettings(bootstrap_servers=kafka.bootstrap), "ended"

    def publish(topic: str, name: str, partition: int = 0) -> None:
        put(kafka, topic, name, partition)

    seen: list[str] = []

    async def run(last: str, then: Callable[[], None]) -> None:
        async with (
            VerdictConsumer(group, cluster, topics, start="end") as consumer,
            asyncio.TaskGroup() as both,
        ):

            def handle(one: Verdict) -> None:
                seen.append(one.post_id)
                if one.post_id == last:
                    consumer.stop()

            both.create_task(consumer.run(handle))
            while 0 not in await asyncio.to_thread(committed, kafka.bootstrap, group, topics.block):
                await asyncio.sleep(0.05)
            then()

    def add(partitions: int) -> None:
        asked = admin.create_partitions([NewPartitions(topics.review, partitions)])
        asked[topics.review].result(30)

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    publish(topics.allow, "old")
    async with asyncio.timeout(90):
        await run("first", lambda: publish(topics.allow, "first"))
        publish(topics.block, "meanwhile")  # where nothing was handled yet
        await run("meanwhile", lambda: None)
        add(partitions=2)
        publish(topics.review, "added", partition=1)
        await run("added", lambda: None)

        def grow() -> None:
            add(partitions=3)
            publish(topics.review, "grown", partition=2)

        await run("grown", grow)
    assert seen == ["first", "meanwhile", "added", "grown"]


class Duo:
    """Two members of one group, and which verdicts each of them handled."""

    def __init__(self, kafka: ApacheKafka) -> None:
        self.topics = TopicSettings(allow="duo.allow", review="duo.review", block="duo.block")
        for topic in self.topics.outputs[:3]:
            kafka.create_topic(topic, 4)
        self._cluster = KafkaSettings(bootstrap_servers=kafka.bootstrap)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap})
        self.seen: list[set[tuple[str, Action]]] = [set(), set()]

    async def run(self, number: int, done: asyncio.Event) -> None:
        async def handle(one: Verdict) -> None:
            self.seen[number].add((one.post_id, one.action))

        async with (
            VerdictConsumer("duo", self._cluster, self.topics) as consumer,
            asyncio.TaskGroup() as both,
        ):
            both.create_task(consumer.run(handle))
            await done.wait()
            consumer.stop()

    async def handle_posts(self, prefix: str, count: int = 40) -> None:
        """Publish three verdicts on each of so many posts, one on every topic; return once all were handled."""
        for number in range(count):
            for at, (action, topic) in enumerate(zip(Action, self.topics.outputs, strict=False)):
                one = verdict(f"{prefix}-{number}", at, action=action)
                self._producer.produce(topic, encode(one), one.post_id)
        assert self._producer.flush(30) == 0
        while len({post for post, action in self._all(prefix) if action is Action.BLOCK}) < count:
            await asyncio.sleep(0.05)

    def _all(self, prefix: str) -> set[tuple[str, Action]]:
        return {one for seen in self.seen for one in seen if one[0].startswith(prefix)}


async def test_all_verdicts_on_one_post_reach_one_member_of_the_group(kafka: ApacheKafka) -> None:
    duo = Duo(kafka)
    done = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as runs:
        runs.create_task(duo.run(0, done))
        runs.create_task(duo.run(1, done))
        warm = 0
        while not all(duo.seen):  # until both have partitions
            warm += 1
            await duo.handle_posts(f"warm-{warm}")
        await duo.handle_posts("post")
        done.set()
    first, second = ({post for post, _ in seen if post.startswith("post")} for seen in duo.seen)
    assert first
    assert second
    assert first & second == set()
    assert len(first | second) == 40


async def test_what_a_producer_is_told_was_delivered_is_judged_and_consumed(judged: Lane) -> None:
    kafka, topics = cluster_of(judged)
    ids = {f"fed-{number}" for number in range(200)}
    async with PostProducer(kafka, topics) as producer:
        receipts = await asyncio.gather(
            *(producer.send(Post(id=one, text=f"[bad] {one}")) for one in sorted(ids))
        )
    assert {one.post_id for one in receipts} == ids
    seen: set[str] = set()
    async with asyncio.timeout(60), VerdictConsumer(f"{judged.prefix}.feed", kafka, topics) as consumer:

        def act(one: Verdict) -> None:
            seen.add(one.post_id)
            if ids <= seen:
                consumer.stop()

        await consumer.run(act)
