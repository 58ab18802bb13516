"""JSON over HTTP to an engine's server: bounded, retried where that can help, silent about content."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import orjson

from sluicegate.engines.errors import EngineSetupError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_BUSY = frozenset({429, 502, 503, 504})
"""The server, or a proxy before it, asks to come back later."""

_FULL = frozenset({429, 503})
"""Of those, what a server says before it takes a request; 502 and 504 may tell of one that died of it."""
_KEY_REFUSED = "the engine's server refuses this worker: check api_key"
_NO_PAGE = "the engine's server has no such page or model: check url (without /v1), dialect and model name"
_MISCONFIGURED = {401: _KEY_REFUSED, 403: _KEY_REFUSED, 404: _NO_PAGE, 405: _NO_PAGE}
"""Everybody is refused: wrong key, address or model name. The stream must hold, not fail post by post."""

_BUSY_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.1
_CONNECT_S = 2.0
_IDLE_S = (
    3.0  # uvicorn and llama.cpp drop an idle connection after 5 s: be first, or a request meets the drop
)
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What the server answered in the end."""

    status: int
    """0 if the answer broke off."""
    body: object
    """The decoded JSON; None if there was none, or more than the limit."""


class JsonClient:
    """Client of one server. Enter it inside a running event loop.

    Args:
        address: Gives the server's base address at each attempt; raises ``EngineUnavailable``
            while there is none.
        api_key: Sent as a bearer token.
    """

    def __init__(self, address: Callable[[], str], *, api_key: str | None = None) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool. Nothing is sent."""
        self._session = aiohttp.ClientSession(
            headers={"Content-Type": "application/json", **self._headers},
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_IDLE_S
            ),  # the engine bounds what is in flight
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def post(self, path: str, payload: object, *, limit_bytes: int, deadline: float) -> HttpReply:
        """Post JSON and read JSON.

        A refused connection and the statuses 429 and 503 are tried three times, with growing,
        jittered pauses: the server took nothing. A connection that breaks before the answer begins,
        and the statuses 502 and 504, may tell of a server that died of this request: it is not sent
        again from here. All else is returned, status 500 and an answer that breaks off among it.
        Cancelling closes the connection.

        Args:
            path: Path below the server's address.
            payload: Anything that JSON can hold.
            limit_bytes: Longest answer that is read.
            deadline: On the loop's clock; no pause goes beyond it. The caller bounds the rest.

        Raises:
            EngineUnavailable: The server stayed away, or refuses every request.
        """
        data = orjson.dumps(payload)
        for attempt in range(1, _BUSY_ATTEMPTS + 1):
            url = self._address().rstrip("/") + path
            try:
                reply = await self._once(url, data, limit_bytes)
            except (aiohttp.ClientError, ConnectionError) as error:
                trouble = (
                    f"the engine's server cannot be reached ({type(error).__name__}): "
                    "check url, that the server runs, and that no network policy is between"
                )
                refused = isinstance(error, aiohttp.ClientConnectorError)
                if not refused:
                    break
            else:
                if reply.status in _MISCONFIGURED:
                    raise EngineUnavailable(
                        f"{_MISCONFIGURED[reply.status]} (HTTP {reply.status})", refused=True
                    )
                if reply.status in _BUSY:
                    trouble, refused = (
                        f"the engine's server answers HTTP {reply.status}",
                        reply.status in _FULL,
                    )
                    if not refused:
                        break
                else:
                    return reply
            pause_s = _FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
            if attempt == _BUSY_ATTEMPTS or asyncio.get_running_loop().time() + pause_s > deadline:
                break
            await asyncio.sleep(pause_s)
        raise EngineUnavailable(trouble, refused=refused)

    async def get_text(self, path: str, *, limit_bytes: int, timeout_s: float) -> str:
        """Read a page once; empty if there is none, or it is late or longer than the limit. Never raises."""
        _, text = await self._page(path, limit_bytes, timeout_s)
        return text

    async def get_status(self, path: str, *, timeout_s: float) -> int:
        """The status of a page, asked for once; 0 if no answer came in time. Never raises."""
        status, _ = await self._page(path, 0, timeout_s)
        return status

    async def _page(self, path: str, limit_bytes: int, timeout_s: float) -> tuple[int, str]:
        try:
            async with asyncio.timeout(timeout_s):
                url = self._address().rstrip("/") + path
                if self._session is None:
                    return 0, ""
                async with self._session.get(url, allow_redirects=False) as response:
                    body = await _bounded(response, limit_bytes) if response.status == 200 else b""
                    return response.status, body.decode(errors="replace")
        except (aiohttp.ClientError, ConnectionError, TimeoutError, EngineUnavailable):
            return 0, ""

    async def _once(self, url: str, data: bytes, limit_bytes: int) -> HttpReply:
        if self._session is None:
            raise EngineUnavailable("the engine is not started")
        async with self._session.post(url, data=data, allow_redirects=False) as response:
            try:
                return HttpReply(response.status, _json(await _bounded(response, limit_bytes)))
            except (aiohttp.ClientError, ConnectionError):
                return HttpReply(0, None)


async def _bounded(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Read a body up to its limit; one that is longer gives nothing."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit_bytes:
            response.close()
            return b""
    return bytes(body)


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def base_address(url: str | None) -> str:
    """The address of a server, as the settings give it.

    Raises:
        EngineSetupError: There is none, or it is no http address.
    """
    try:
        parts = urlsplit(url or "")
        if url and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    except ValueError:  # a port that is no number
        pass
    raise EngineSetupError("engine.url is missing or no http address; an example is http://127.0.0.1:8000")
