"""The ops port: /livez, /readyz and /metrics, read-only, on one port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from sluicegate.pipeline.settings.tree import OpsSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry


_SHUTDOWN_S = 1.0  # a scrape in work may finish; a kept-alive connection must not hold up the exit


@dataclass(frozen=True, slots=True)
class Report:
    """Answer of a probe."""

    ok: bool
    body: dict[str, Any]


class OpsServer:
    """Answers probes and scrapes. Use as an async context manager."""

    def __init__(
        self,
        settings: OpsSettings,
        registry: CollectorRegistry,
        *,
        livez: Callable[[], Report],
        readyz: Callable[[], Report],
    ) -> None:
        self._settings = settings
        self._registry = registry
        application = web.Application()
        application.router.add_get("/livez", _probe(livez))
        application.router.add_get("/readyz", _probe(readyz))
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        self.address = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(self._registry), headers={"Content-Type": content_type})


def _probe(report: Callable[[], Report]) -> Callable[[web.Request], Any]:
    async def answer(_request: web.Request) -> web.Response:
        said = report()
        return web.Response(
            status=200 if said.ok else 503, body=orjson.dumps(said.body), content_type="application/json"
        )

    return answer
