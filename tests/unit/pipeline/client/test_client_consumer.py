"""What the handler sees, what is committed, and what a failing handler leads to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.client import ClientClosedError, ClusterError, HandlerError, Verdict, VerdictConsumer
from sluicegate.pipeline.client import consumer as consumer_module
from unit.pipeline.client_fakes import KAFKA, TOPICS, Cluster, FakeMember, verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(consumer_module, "Member", lambda *_args, **_options: FakeMember(made))
    return made


@pytest.fixture
async def consumer(cluster: Cluster) -> AsyncIterator[VerdictConsumer]:
    async with VerdictConsumer("group", KAFKA, TOPICS, attempts=3, pause_s=0.001) as opened:
        yield opened
    assert cluster.closed == 1


def stopping_at(consumer: VerdictConsumer, last: int, seen: list[Verdict]) -> Callable[[Verdict], None]:
    """A handler that keeps what it sees, and stops after the ``last`` one."""

    def handle(one: Verdict) -> None:
        seen.append(one)
        if len(seen) == last:
            consumer.stop()

    return handle


async def test_a_verdict_is_committed_after_the_handler_returned(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    cluster.put(verdict("a"))
    committed_before = None

    async def handle(one: Verdict) -> None:
        nonlocal committed_before
        await asyncio.sleep(0)
        committed_before = list(cluster.committed)
        consumer.stop()

    await consumer.run(handle)
    assert committed_before == []
    assert cluster.committed == [0]


async def test_repeats_and_outdated_verdicts_are_committed_without_the_handler(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    for at, name, revision in ((2, "x", 1), (2, "x", 1), (1, "y", 1), (9, "z", 0), (3, "w", 1)):
        cluster.put(verdict("a", at, name=name, revision=revision))
    seen: list[Verdict] = []
    await consumer.run(stopping_at(consumer, 2, seen))
    assert [one.judged_at.second for one in seen] == [2, 3]
    assert cluster.committed == [0, 1, 2, 3, 4]
    counts = consumer.counts
    assert (counts.handled, counts.repeats, counts.outdated, counts.unreadable) == (2, 1, 2, 0)


async def test_what_is_no_verdict_is_counted_logged_by_its_place_and_passed_over(
    cluster: Cluster, consumer: VerdictConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    for value in (b"a hostile text", verdict("a", schema_version="2.0"), b"{}", verdict("b")):
        cluster.put(value)
    seen: list[Verdict] = []
    await consumer.run(stopping_at(consumer, 1, seen))
    assert [one.post_id for one in seen] == ["b"]
    assert consumer.counts.unreadable == 3
    assert cluster.committed == [0, 1, 2, 3]
    assert "no verdict at verdicts.allow/0/0" in caplog.text
    assert "hostile" not in caplog.text


async def test_a_handler_that_fails_now_and_then_gets_the_verdict_again(
    cluster: Cluster, consumer: VerdictConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(verdict("a"))
    calls = 0

    def handle(one: Verdict) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise OSError("a hostile text")
        consumer.stop()

    await consumer.run(handle)
    assert calls == 3
    assert cluster.committed == [0]
    assert "attempt 2 of 3: OSError at" in caplog.text
    assert "hostile" not in caplog.text


async def test_a_handler_that_keeps_failing_ends_the_run_and_nothing_is_committed(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    cluster.put(verdict("a"))
    cluster.put(verdict("b"))
    calls = []

    async def fail(one: Verdict) -> None:
        calls.append(one.post_id)
        raise OSError("the database is away")

    with pytest.raises(HandlerError, match=r"3 times on verdict .* of post a") as told:
        await consumer.run(fail)
    assert isinstance(told.value.__cause__, OSError)
    assert calls == ["a"] * 3
    assert cluster.committed == []
    seen: list[Verdict] = []
    await consumer.run(stopping_at(consumer, 2, seen))
    assert [one.post_id for one in seen] == ["a", "b"], "the verdict in hand comes again"
    assert cluster.committed == [0, 1]


async def test_a_cancelled_run_hands_the_verdict_in_hand_over_again(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    handling = asyncio.Event()

    async def never(one: Verdict) -> None:
        handling.set()
        await asyncio.sleep(3600)

    cluster.put(verdict("a"))
    cluster.put(verdict("b"))
    run = asyncio.create_task(consumer.run(never))
    await handling.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert cluster.committed == []
    seen: list[Verdict] = []
    await consumer.run(stopping_at(consumer, 2, seen))
    assert [one.post_id for one in seen] == ["a", "b"]


async def test_a_verdict_that_the_thread_of_a_cancelled_run_takes_is_the_next_ones_first(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    cluster.patience_s = 20
    run = asyncio.create_task(consumer.run(lambda _one: None))
    while consumer._taking is None:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    cluster.put(verdict("a"))
    while not cluster.records.empty():
        await asyncio.sleep(0)
    cluster.put(verdict("b"))
    seen: list[Verdict] = []
    await consumer.run(stopping_at(consumer, 2, seen))
    assert [one.post_id for one in seen] == ["a", "b"]


async def test_a_handler_that_never_waits_leaves_the_loop_to_others(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    for number in range(200):
        cluster.put(verdict(str(number)))
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def handle(one: Verdict) -> None:
        if one.post_id == "199":
            consumer.stop()

    watching = asyncio.create_task(watch())
    await consumer.run(handle)
    watching.cancel()
    assert turns >= 199


async def test_a_plain_handler_may_block_and_may_return_a_coroutine(
    cluster: Cluster, consumer: VerdictConsumer
) -> None:
    cluster.put(verdict("a"))
    seen: list[Verdict] = []

    async def late(one: Verdict) -> None:
        seen.append(one)
        consumer.stop()

    def handle(one: Verdict) -> Coroutine[None, None, None]:
        return late(one)

    await consumer.run(handle)
    assert [one.post_id for one in seen] == ["a"]


async def test_topics_that_cannot_be_read_end_the_run(cluster: Cluster, consumer: VerdictConsumer) -> None:
    cluster.records.put(ClusterError("gone"))
    with pytest.raises(ClusterError, match="gone"):
        await consumer.run(lambda _one: None)


async def test_outside_its_context_it_does_not_run(cluster: Cluster) -> None:
    with pytest.raises(ClientClosedError, match="async with"):
        await VerdictConsumer("group", KAFKA, TOPICS).run(lambda _one: None)


async def test_the_actions_choose_the_topics(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def make(_kafka: Any, topics: list[str], group: str, **options: Any) -> FakeMember:
        asked.append((topics, group, options))
        return FakeMember(cluster)

    monkeypatch.setattr(consumer_module, "Member", make)
    async with VerdictConsumer("mine", KAFKA, TOPICS, actions=["block"], start="end"):  # type: ignore[list-item]  # an action's value is one
        pass
    assert asked == [(["verdicts.block"], "mine", {"start": "end"})]
