"""People's decisions in the client: they count for more than any later verdict on the same content."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.client import (
    Action,
    Authority,
    Client,
    HandlerError,
    Post,
    Resolution,
    Verdict,
    VerdictConsumer,
)
from sluicegate.pipeline.client import client as client_module
from sluicegate.pipeline.client import consumer as consumer_module
from sluicegate.pipeline.client import producer as producer_module
from sluicegate.schemas import resolution_id
from unit.pipeline.client_fakes import (
    KAFKA,
    TOPICS,
    Cluster,
    FakeMember,
    FakeProducer,
    FakeTail,
    verdict,
    verdict_on,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.timeout(30)


def decision(on: Verdict, after_s: float = 1, **changes: Any) -> Resolution:
    """A person's decision on the post of a verdict."""
    names = ("post_id", "revision", "tenant", "kind", "content_hash")
    given: dict[str, Any] = {
        "verdict_id": on.verdict_id,
        "verdict_judged_at": on.judged_at,
        **{name: getattr(on, name) for name in names},
        "action": Action.ALLOW,
        "disposition": "none",
        "severity": "safe",
        "authority": Authority.REVIEWER,
        "reviewer": "heron",
        "role": "reviewer",
        "basis": "single",
        "cause": "review",
        "decided_at": on.judged_at + timedelta(seconds=after_s),
        **changes,
    }
    name = resolution_id(
        verdict_id=on.verdict_id, content=on.content_hash, decision=str(after_s), action=given["action"]
    )
    return Resolution(resolution_id=name, **given)


REOPENED = {"authority": Authority.MACHINE, "cause": "reopened", "severity": None, "action": Action.REVIEW}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(consumer_module, "Member", lambda *_args, **_options: FakeMember(made))
    monkeypatch.setattr(client_module, "Tail", lambda *_args, **_options: FakeTail(made))
    monkeypatch.setattr(producer_module, "Producer", lambda *_args, **_options: FakeProducer(made))
    return made


async def acted_on(cluster: Cluster, records: Sequence[Verdict | Resolution]) -> list[str]:
    """What a consumer acts on, each by who said it."""
    acted: list[str] = []
    end = verdict("the last one")
    for one in (*records, end):
        cluster.put(one, TOPICS.resolutions if isinstance(one, Resolution) else TOPICS.review)
    consumer = VerdictConsumer(
        "group", KAFKA, TOPICS, on_resolution=lambda one: acted.append(f"person {one.action}")
    )

    def judged(one: Verdict) -> None:
        if one.post_id == end.post_id:
            consumer.stop()
        else:
            acted.append(f"machine {one.action}")

    async with consumer:
        await consumer.run(judged)
    assert len(cluster.committed) == len(records) + 1
    return acted


async def test_a_later_verdict_on_the_same_content_does_not_overrule_a_person(cluster: Cluster) -> None:
    first = verdict(at=1, action="review")
    assert await acted_on(cluster, [first, decision(first), verdict(at=9, action="block")]) == [
        "machine review",
        "person allow",
    ]


async def test_a_decision_that_is_taken_back_late_brings_the_verdict_that_it_hid(cluster: Cluster) -> None:
    first, again = verdict(at=1, action="review"), verdict(at=9, action="block", name="again")
    records: list[Verdict | Resolution] = [first, decision(first), again, decision(first, 3, **REOPENED)]
    assert await acted_on(cluster, records) == ["machine review", "person allow", "machine block"]


async def test_a_decision_that_is_taken_back_late_counts_no_more_whatever_is_behind_it(
    cluster: Cluster,
) -> None:
    first, again = verdict(at=1, action="review"), verdict(at=9, action="block", name="again")
    records: list[Verdict | Resolution] = [first, again, decision(first), decision(first, 3, **REOPENED)]
    # The block was handed on before anybody decided: it is not kept, and the post is nobody's to allow any more.
    assert await acted_on(cluster, records) == [
        "machine review",
        "machine block",
        "person allow",
        "person review",
    ]


async def test_a_decision_that_comes_late_still_counts_and_comes_once(cluster: Cluster) -> None:
    first, later = verdict(at=1, action="review"), verdict(at=9, action="block")
    decided = decision(first)
    assert await acted_on(cluster, [first, later, decided, decided]) == [
        "machine review",
        "machine block",
        "person allow",
    ]


async def test_a_swapped_text_returns_to_the_machine_and_the_old_one_to_the_person(cluster: Cluster) -> None:
    first = verdict(at=1, action="review")
    other: dict[str, Any] = {"content_hash": f"sha256:{'b' * 64}", "action": "block"}
    records: list[Verdict | Resolution] = [
        first,
        decision(first),
        verdict(at=3, **other),
        verdict(at=4, action="review"),
    ]
    assert await acted_on(cluster, records) == [
        "machine review",
        "person allow",
        "machine block",
        "person allow",
    ]


async def test_a_case_that_was_reopened_returns_to_the_machine(cluster: Cluster) -> None:
    first = verdict(at=1, action="review")
    records: list[Verdict | Resolution] = [
        first,
        decision(first),
        decision(first, 3, **REOPENED),
        verdict(at=9, action="block"),
    ]
    assert await acted_on(cluster, records) == [
        "machine review",
        "person allow",
        "person review",
        "machine block",
    ]


async def test_a_failing_handler_of_decisions_is_told_by_its_kind(cluster: Cluster) -> None:
    cluster.put(decision(verdict()), TOPICS.resolutions)

    def fail(_one: Resolution) -> None:
        raise OSError

    async with VerdictConsumer(
        "group", KAFKA, TOPICS, on_resolution=fail, attempts=1, pause_s=0.001
    ) as consumer:
        with pytest.raises(HandlerError, match=r"on resolution .* of post a"):
            await consumer.run(lambda _one: None)
    assert cluster.committed == []


async def test_a_decision_that_counts_again_comes_again_where_its_handler_failed(cluster: Cluster) -> None:
    first = verdict(at=1, action="review")
    other = verdict(at=3, content_hash=f"sha256:{'b' * 64}", action="block")
    for one in (first, decision(first), other, verdict(at=4, action="review")):
        cluster.put(one, TOPICS.resolutions if isinstance(one, Resolution) else TOPICS.review)
    heard: list[str] = []

    def decided(one: Resolution) -> None:
        heard.append(one.action)
        if len(heard) == 2:
            raise OSError
        if len(heard) > 2:
            consumer.stop()

    consumer = VerdictConsumer("group", KAFKA, TOPICS, on_resolution=decided, attempts=1, pause_s=0.001)
    async with consumer:
        with pytest.raises(HandlerError, match="on resolution"):
            await consumer.run(lambda _one: None)
        await consumer.run(lambda _one: None)
    assert heard == ["allow"] * 3


async def test_judge_answers_with_a_persons_decision_on_the_same_content(cluster: Cluster) -> None:
    post = Post(id="a", text="one text")
    judged = verdict_on(post, action="block")
    async with Client(KAFKA, TOPICS, resolutions=10) as client:
        cluster.on_sent = lambda _post: cluster.put(decision(judged), TOPICS.resolutions)
        first = await client.judge(post, timeout_s=10)
        assert (first.action, first.verdict, first.timed_out) == (Action.ALLOW, None, False)
        assert first.resolution is not None
        cluster.on_sent = lambda sent: cluster.put(verdict_on(sent, at=60, action="block"))
        again = await client.judge(post, timeout_s=10)
        assert (again.action, again.resolution) == (Action.ALLOW, first.resolution)
        swapped = await client.judge(Post(id="a", text="another text"), timeout_s=10)
        assert (swapped.action, swapped.resolution) == (Action.BLOCK, None)
        cluster.put(decision(judged, 30, **REOPENED), TOPICS.resolutions)
        cluster.on_sent = lambda sent: cluster.put(verdict_on(sent, at=90, action="block"))
        reopened = await client.judge(post, timeout_s=10)
        assert (reopened.action, reopened.resolution) == (Action.BLOCK, None)


async def test_who_asks_for_no_decisions_gets_the_machines_word(cluster: Cluster) -> None:
    post = Post(id="a", text="one text")
    cluster.put(decision(verdict_on(post)), TOPICS.resolutions)
    cluster.on_sent = lambda sent: cluster.put(verdict_on(sent, at=60, action="block"))
    async with Client(KAFKA, TOPICS) as client:
        reply = await asyncio.wait_for(client.judge(post, timeout_s=10), 20)
    assert (reply.action, reply.resolution) == (Action.BLOCK, None)
