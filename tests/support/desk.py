"""A review desk's pages, served on a loopback port, and a browser without scripts."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.web.app import make_app
from sluicegate.pipeline.settings.tree import KafkaSettings, ReviewSettings, Settings, TopicSettings
from support.cases import Bench, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluicegate.schemas import Post


@contextmanager
def desk_of(folder: Path, *texts: Post, **settings: Any) -> Iterator[tuple[ReviewDesk, Bench]]:
    """A desk without Kafka, with these posts to review."""
    given = {
        "store": f"sqlite:///{folder / 'review.db'}",
        "key": "k" * 32,
        "blind_share": 0,
        "double_share": 0,
        "golden_share": 0,
        **settings,
    }
    made: dict[str, Any] = {
        "kafka": KafkaSettings(),
        "topics": TopicSettings(),
        "review": ReviewSettings(**given),
    }
    desk = ReviewDesk(Settings.model_construct(**made))
    desk.store.migrate()
    bench = Bench(desk.store, **given)
    for text in texts:
        bench.take(text, judged(text))
    try:
        yield desk, bench
    finally:
        desk.store.close()


@contextmanager
def served(desk: ReviewDesk, *, demo: bool = True) -> Iterator[str]:
    """The address of a desk's pages."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = make_app(desk, demo=demo)
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def browsing(desk: ReviewDesk, *, demo: bool = True) -> Iterator[httpx.Client]:
    """A client of a desk's pages. It follows redirects, and keeps cookies."""
    with (
        served(desk, demo=demo) as address,
        httpx.Client(base_url=address, follow_redirects=True, timeout=60) as client,
    ):
        yield client


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of a page's forms."""
    return dict(re.findall(r'name="(csrf|version|shown_at)" value="([^"]*)"', page.text))


def until(what: str, ask: Callable[[], Any], within_s: float = 60) -> Any:
    """What is asked for, once it is there."""
    end = time.monotonic() + within_s
    while not (found := ask()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)
    return found
