"""What a desk tells of itself: readiness and metrics, while the store or the brokers are there, away or silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.producer import Producer
from sluicegate.pipeline.kafka.resumed import ResumedTail
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings, TopicSettings, load_settings
from sluicegate.schemas import encode
from support.cases import post
from support.desk import browsing, until
from support.kafka import free_ports
from support.postgres import postgres_server
from support.proxy import Proxy
from support.review_store import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

TOPICS = TopicSettings()


def told(desk: ReviewDesk) -> dict[tuple[str, ...], float]:
    """Every sample by its name and labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(desk.metrics.text().decode())
        for sample in family.samples
    }


def settings(store: str, **kafka: str) -> Settings:
    return load_settings(kafka=kafka, review={"store": store})


@pytest.fixture
def behind_a_proxy() -> Iterator[tuple[str, Proxy]]:
    """A database's URL, and the proxy on the way to it."""
    (port,) = free_ports(1)
    with postgres_server() as server:
        url = fresh_database(server, "health")
        there = int(url.rpartition(":")[2].partition("/")[0])
        with Proxy(port, there) as proxy:
            yield url.replace(f":{there}/", f":{port}/"), proxy


@pytest.mark.postgresql
async def test_a_desk_whose_store_went_away_or_fell_silent_is_not_ready_and_says_which(
    behind_a_proxy: tuple[str, Proxy],
) -> None:
    store, proxy = behind_a_proxy
    async with EmbeddedBroker([*TOPICS.model_dump().values()]) as broker:
        given = settings(store, bootstrap_servers=broker.address)
        with ReviewDesk(given) as desk, browsing(desk) as browser:
            until("it is ready", lambda: browser.get("/readyz").status_code == 200)
            assert told(desk)["sluicegate_review_store_away",] == 0
            proxy.silence()
            with pytest.raises(httpx.ReadTimeout):
                browser.get("/readyz", timeout=1)
            assert browser.get("/livez", timeout=10).status_code == 200, "it is not restarted for that"
            proxy.restore()
            proxy.cut()
            answer = browser.get("/readyz")
            assert answer.status_code == 503
            assert "the store does not answer" in answer.json()["troubles"]
            found = told(desk)
            assert found["sluicegate_review_store_away",] == 1
            assert ("sluicegate_review_unsent_records",) not in found
            until("the outbox notices", lambda: told(desk)["sluicegate_review_hold", "outbox"])
            proxy.restore()
            until("it is ready again", lambda: browser.get("/readyz").status_code == 200)
            assert told(desk)["sluicegate_review_store_away",] == 0


async def test_a_desk_whose_brokers_went_away_is_not_ready_though_nobody_decides(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'review.db'}"
    async with EmbeddedBroker([*TOPICS.model_dump().values()]) as broker:
        desk = ReviewDesk(settings(store, bootstrap_servers=broker.address))
        desk.__enter__()
        until("it is ready", lambda: not desk.troubles)
    try:
        until("it notices", lambda: desk.troubles)
        assert told(desk)["sluicegate_review_hold", "projector"] == 1
        assert told(desk)["sluicegate_review_store_away",] == 0
    finally:
        desk.__exit__(None, None, None)


async def test_what_was_not_read_yet_is_counted() -> None:
    text = post()
    async with EmbeddedBroker([TOPICS.posts]) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        producer = Producer(kafka)
        for _ in range(3):
            producer.put(TOPICS.posts, encode(text), text.id.encode(), report=lambda _told: None)
        assert producer.close(20) == 0
        with ResumedTail(kafka, [TOPICS.posts], {}) as tail:
            read = until("all of them", lambda: tail.read(0.2))
            place = read[0].topic, read[0].partition
            assert tail.unread({}) == 0, "nothing is known of where reading began"
            assert tail.unread({place: 1}) == 2
            assert tail.unread({place: 3}) == 0
