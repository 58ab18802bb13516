"""Serving: a desk and its pages in one process."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.web.app import make_app
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("sluicegate.review")
_FINISH_S = 10
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def serve_desk(
    settings: Settings, *, demo: bool, started: Callable[[str], None] = lambda _address: None
) -> None:
    """Run the desk until SIGTERM or Ctrl-C, and return then.

    Args:
        settings: All of them.
        demo: True offers the demo's names for login.
        started: Gets the address once pages are served.

    Raises:
        ReviewError: The store cannot be opened, or the port is taken.
    """
    listening = _listen(settings.review.host, settings.review.port)
    with listening, ReviewDesk(settings) as desk:
        app = make_app(desk, demo=demo)
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_FINISH_S,
        )
        host, port = listening.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        _log.info("review desk at %s", address)
        started(address)
        server = _DeskServer(config, app.state.live.close)
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, server.end)
        try:
            await server.serve([listening])
        finally:
            for number in _ENDING:
                loop.remove_signal_handler(number)


class _DeskServer(uvicorn.Server):
    """A server whose caller goes on after a signal: uvicorn's own would end the process before that has tidied up."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        self.should_exit = True
        self._close()  # it would wait for open pages otherwise


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ReviewError(
            f"{host}:{port} cannot be listened on ({error.strerror}); give another review.port"
        ) from error
