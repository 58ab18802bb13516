"""Publish and wait: whom the client answers, with what, and what it does when nothing comes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.client import (
    Action,
    Client,
    ClientClosedError,
    ClientError,
    ClusterError,
    DeadLetteredError,
    NotDeliveredError,
    NoVerdictError,
    Post,
)
from sluicegate.pipeline.client import client as client_module
from sluicegate.pipeline.client import producer as producer_module
from sluicegate.pipeline.kafka.producer import Refused
from sluicegate.schemas import encode
from unit.pipeline.client.test_client_waiting import letter
from unit.pipeline.client_fakes import KAFKA, TOPICS, Cluster, FakeProducer, FakeTail, verdict_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster()
    monkeypatch.setattr(client_module, "Tail", lambda *_args, **_options: FakeTail(made))
    monkeypatch.setattr(producer_module, "Producer", lambda *_args, **_options: FakeProducer(made))
    yield made
    assert made.closed == 2, "the tail and the outlet are closed"


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(KAFKA, TOPICS) as opened:
        yield opened
        assert opened.waiting == 0


def answers(cluster: Cluster, action: Action = Action.ALLOW) -> None:
    """Every post is judged at once."""
    cluster.on_sent = lambda post: cluster.put(verdict_on(post, action=action))


async def test_a_post_is_published_under_its_id_and_its_verdict_is_the_reply(
    cluster: Cluster, client: Client
) -> None:
    answers(cluster, Action.BLOCK)
    post = Post(id="a", text="one text")
    reply = await client.judge(post, timeout_s=10)
    assert cluster.sent == [("posts", b"a", encode(post))]
    assert (reply.action, reply.timed_out) == (Action.BLOCK, False)
    assert reply.verdict is not None
    assert reply.verdict.post_id == "a"


async def test_each_of_many_callers_gets_the_verdict_on_its_own_post(
    cluster: Cluster, client: Client
) -> None:
    def judged_twice(post: Post) -> None:
        for topic in (TOPICS.allow, TOPICS.block):
            cluster.put(verdict_on(post, disposition=post.text), topic)

    cluster.on_sent = judged_twice
    posts = [Post(id=str(number % 7), text=f"text {number}") for number in range(100)]
    replies = await asyncio.gather(*(client.judge(post, timeout_s=20) for post in posts))
    assert [reply.verdict and reply.verdict.disposition for reply in replies] == [post.text for post in posts]


@pytest.mark.parametrize("mode", ["allow", "review", "block"])
async def test_who_waited_in_vain_gets_the_action_it_chose_and_no_verdict(client: Client, mode: Any) -> None:
    reply = await client.judge(Post(id="a", text="x"), timeout_s=0.05, on_timeout=mode)
    assert (reply.action, reply.verdict, reply.timed_out) == (Action(mode), None, True)


async def test_who_chose_nothing_is_told_by_an_error_without_the_text(client: Client) -> None:
    with pytest.raises(NoVerdictError) as told:
        await client.judge(Post(id="a", text="secret"), timeout_s=0.05)
    assert isinstance(told.value, TimeoutError)
    assert "post a within 0.05 s" in str(told.value)
    assert "secret" not in str(told.value)


async def test_a_queue_that_stays_full_is_part_of_the_wait(cluster: Cluster, client: Client) -> None:
    cluster.full = 10**9
    reply = await client.judge(Post(id="a", text="x"), timeout_s=0.05, on_timeout="block")
    assert reply.timed_out
    cluster.full = 3
    answers(cluster)
    assert not (await client.judge(Post(id="b", text="x"), timeout_s=10)).timed_out


async def test_a_verdict_that_comes_too_late_answers_nobody(cluster: Cluster, client: Client) -> None:
    post = Post(id="a", text="x")
    await client.judge(post, timeout_s=0.01, on_timeout="review")
    cluster.put(verdict_on(post))
    answers(cluster, Action.BLOCK)
    reply = await client.judge(Post(id="a", text="y"), timeout_s=10)
    assert reply.action is Action.BLOCK


async def test_a_refused_post_is_an_error_whatever_the_timeout_mode(cluster: Cluster, client: Client) -> None:
    cluster.refusal = Refused("TOPIC_AUTHORIZATION_FAILED", fatal=False)
    with pytest.raises(NotDeliveredError, match="TOPIC_AUTHORIZATION_FAILED"):
        await client.judge(Post(id="a", text="x"), timeout_s=10, on_timeout="allow")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("MSG_SIZE_TOO_LARGE", "shorten it, or raise max.message.bytes"),
        ("UNKNOWN_TOPIC_OR_PART", "`sluicegate topics create` makes it"),
        ("_UNKNOWN_TOPIC", "`sluicegate topics create` makes it"),
        ("_MSG_TIMED_OUT", "safe to send it again"),
    ],
)
def test_what_to_do_with_a_post_that_was_not_delivered_hangs_on_why(reason: str, fix: str) -> None:
    told = str(NotDeliveredError("a", reason))
    assert fix in told
    assert ("again" in told) is (reason != "MSG_SIZE_TOO_LARGE")


async def test_a_post_that_can_never_be_judged_is_an_error_at_once(cluster: Cluster, client: Client) -> None:
    cluster.on_sent = lambda post: cluster.put(letter(encode(post)), TOPICS.dead_letter, key=post.id.encode())
    with pytest.raises(DeadLetteredError, match="oversize"):
        await client.judge(Post(id="a", text="x"), timeout_s=20, on_timeout="allow")


async def test_garbage_on_the_topics_is_passed_over(cluster: Cluster, client: Client) -> None:
    def garbage_first(post: Post) -> None:
        newer = encode(verdict_on(post, schema_version="2.0", action="block"))
        for value in (b"", b"{}", b"\xff", newer):
            cluster.put(value, key=b"a")
            cluster.put(value, TOPICS.dead_letter, key=b"a")
        cluster.put(verdict_on(post))

    cluster.on_sent = garbage_first
    assert (await client.judge(Post(id="a", text="x"), timeout_s=10)).action is Action.ALLOW


async def test_a_cancelled_caller_leaves_nothing_behind(client: Client) -> None:
    callers = [
        asyncio.create_task(client.judge(Post(id=str(number), text="x"), timeout_s=60)) for number in range(9)
    ]
    await asyncio.sleep(0.01)
    assert client.waiting == 9
    for caller in callers:
        caller.cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    assert client.waiting == 0


async def test_who_waits_while_the_client_is_closed_is_told(cluster: Cluster) -> None:
    client = Client(KAFKA, TOPICS)
    async with client:
        caller = asyncio.create_task(client.judge(Post(id="a", text="x"), timeout_s=60, on_timeout="allow"))
        await asyncio.sleep(0.01)
    with pytest.raises(ClientClosedError):
        await caller
    with pytest.raises(ClientClosedError, match="async with"):
        await client.judge(Post(id="a", text="x"), timeout_s=1)
    assert client.waiting == 0


async def test_nobody_waits_for_a_reader_that_ended(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(KAFKA, TOPICS) as client:
        caller = asyncio.create_task(client.judge(Post(id="a", text="x"), timeout_s=60, on_timeout="allow"))
        await asyncio.sleep(0.01)
        cluster.records.put(RuntimeError("the text of a post"))
        with pytest.raises(ClientError, match="enter a new client"):
            await caller
    assert "RuntimeError at" in caplog.text
    assert "the text of a post" not in caplog.text


async def test_a_cluster_that_is_not_there_is_an_error_on_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.pipeline.kafka.reader.METADATA_S", 0.3)
    client = Client(KAFKA.model_copy(update={"bootstrap_servers": "127.0.0.1:1"}), TOPICS)
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1 cannot be reached: nothing listens"):
        await client.__aenter__()


async def test_cancelling_the_entry_waits_for_the_thread_before_the_reader_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    opening, may_go_on = threading.Event(), threading.Event()

    class SlowTail(FakeTail):
        def open(self) -> None:
            opening.set()
            may_go_on.wait(20)
            order.append("opened")

        def close(self) -> None:
            order.append("closed")

    monkeypatch.setattr(client_module, "Tail", lambda *_args: SlowTail(Cluster()))
    entry = asyncio.create_task(Client(KAFKA, TOPICS).__aenter__())
    await asyncio.to_thread(opening.wait, 20)
    entry.cancel()
    await asyncio.sleep(0)
    assert order == []
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await entry
    assert order == ["opened", "closed"]
