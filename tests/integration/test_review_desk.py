"""The whole way of a decision: a verdict on the broker, a case, a person in the pages, and records on the topics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.producer import Producer
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.kafka.resumed import ResumedTail
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings, load_settings
from sluicegate.schemas import Feedback, Post, Resolution, Verdict, content_hash, encode
from support.desk import browsing, hidden, until
from unit.pipeline.client_fakes import verdict_on

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

TOPICS = TopicSettings()
POST = Post(id="forum/7#3", text="Some <b>disputed</b> words that a person should read.", author_id="user-17")


def publish(kafka: KafkaSettings, records: Iterable[tuple[str, Post | Verdict]]) -> None:
    producer = Producer(kafka)
    refused: list[Any] = []
    for topic, event in records:
        key = event.id if isinstance(event, Post) else event.post_id
        producer.put(topic, encode(event), key.encode(), report=refused.append)
    assert producer.close(20) == 0


def read_all(kafka: KafkaSettings, topic: str) -> list[Any]:
    with TopicReader(kafka, [topic], start="beginning") as reader:
        return list(reader.read_all())


async def test_a_verdict_becomes_a_case_and_a_persons_decision_goes_back_to_kafka(tmp_path: Path) -> None:
    async with EmbeddedBroker([*TOPICS.model_dump().values()]) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        store = f"sqlite:///{tmp_path / 'review.db'}"
        review = {"store": store, "blind_share": 0, "double_share": 0}
        await asyncio.to_thread(_decide, kafka, load_settings(kafka=kafka.model_dump(), review=review))


async def test_reading_goes_on_where_the_store_says_and_at_the_beginning_where_it_says_nothing() -> None:
    async with EmbeddedBroker([TOPICS.posts, TOPICS.review]) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        await asyncio.to_thread(_go_on, kafka)


def _go_on(kafka: KafkaSettings) -> None:
    same = [POST.model_copy(update={"revision": number}) for number in range(3)]
    publish(kafka, [(TOPICS.posts, one) for one in same])
    publish(kafka, [(TOPICS.review, verdict_on(one)) for one in same])
    first, *_ = read_all(kafka, TOPICS.posts)
    known = {(TOPICS.posts, first.partition): first.offset + 2}
    found: list[tuple[str, int]] = []
    with ResumedTail(kafka, [TOPICS.posts, TOPICS.review], known) as tail:

        def read() -> bool:
            found.extend((one.topic, one.offset) for one in tail.read(0.2))
            return len(found) >= 4

        until("the rest", read)
    assert sorted(found) == [(TOPICS.posts, 2), *((TOPICS.review, offset) for offset in range(3))]


def _decide(kafka: KafkaSettings, settings: Any) -> None:
    judged = verdict_on(POST, action="review", author_id=POST.author_id)
    publish(kafka, [(TOPICS.review, judged), (TOPICS.posts, POST)])
    with (
        ReviewDesk(settings) as desk,
        browsing(desk) as browser,
    ):
        until("a ready desk", lambda: browser.get("/readyz").status_code == 200)
        queue = browser.post("/login", data={"name": "heron"})
        assert queue.status_code == 200
        until("the case", lambda: 'data-count="open">1<' in browser.get("/queue").text)
        page = browser.post("/next", data=hidden(queue))
        assert "Some &lt;b&gt;disputed&lt;/b&gt; words" in page.text
        answer = {**hidden(page), "action": "block", "severity": "unsafe", "category": "Violent"}
        done = browser.post(f"{page.url.path}/answer", data={**answer, "disposition": "takedown"})
        assert "Nothing waits for you" in done.text
        records = until("the resolution", lambda: read_all(kafka, TOPICS.resolutions))
        feedback = until("the feedback", lambda: read_all(kafka, TOPICS.feedback))
    (resolution,) = [record.event(Resolution) for record in records]
    assert (resolution.verdict_id, resolution.post_id) == (judged.verdict_id, POST.id)
    assert (resolution.action, resolution.disposition, resolution.severity) == ("block", "takedown", "unsafe")
    assert (resolution.authority, resolution.reviewer, resolution.basis) == ("reviewer", "heron", "single")
    assert resolution.content_hash == content_hash(POST)
    (learnt,) = [Feedback.model_validate_json(record.value) for record in feedback]
    assert (learnt.post, learnt.categories, learnt.blind) == (POST, ("Violent",), False)
    assert (learnt.sampled_by, learnt.inclusion_probability) == ("review", 1.0)
