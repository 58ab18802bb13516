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

from sluicegate.pipeline.review.web.app import make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluicegate.pipeline.review.desk import ReviewDesk


@contextmanager
def browsing(desk: ReviewDesk, *, demo: bool = True) -> Iterator[httpx.Client]:
    """A client of a desk's pages. It follows redirects, and keeps cookies."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(desk, demo=demo), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=address, follow_redirects=True, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


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
