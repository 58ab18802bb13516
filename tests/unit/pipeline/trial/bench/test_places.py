"""Metrics over HTTP: a bounded read, and nothing where there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.bench import places
from unit.pipeline.trial.bench.records import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def metrics(request: web.Request) -> web.Response:
        size = int(request.query.get("size", "0"))
        return web.Response(text="x" * size or "some metrics", status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/metrics"
    await runner.cleanup()


async def test_each_worker_is_asked_and_one_that_does_not_answer_well_gives_nothing(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST_BYTES", 100_000)
    urls = [
        server,
        f"{server}?status=503",
        f"{server}?size=100000",
        f"{server}?size=100001",
        "http://127.0.0.1:1/metrics",
        "no url",
    ]
    async with places.cluster(KafkaSettings(), TOPICS, urls) as place:
        texts = await place.scrape()
    assert [len(text) for text in texts] == [12, 0, 100_000, 0, 0, 0]


async def test_without_urls_nobody_is_asked() -> None:
    async with places.cluster(KafkaSettings(), TOPICS, ()) as place:
        assert await place.scrape() == []
