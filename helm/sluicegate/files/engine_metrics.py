"""The metrics of the server beside the worker, on a port of the pod: the server itself listens on the loopback interface.

Usage: engine_metrics.py PLAN PORT, with the plan that `sluicegate engine serve-config --metrics --json` printed. Only
``GET /metrics`` is handed on: whoever reached the server itself could have it generate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, web

_TIMEOUT = ClientTimeout(total=8)  # a scrape has ten seconds by default


def application(server: str) -> web.Application:
    """The one endpoint.

    Args:
        server: Address of the server's metrics.
    """

    async def hand_on(_request: web.Request) -> web.Response:
        try:
            async with ClientSession(timeout=_TIMEOUT) as session, session.get(server) as answer:
                told = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                return web.Response(status=answer.status, body=await answer.read(), headers=told)
        except (ClientError, TimeoutError):  # it still loads, or is away
            return web.Response(status=503)

    made = web.Application()
    made.router.add_get("/metrics", hand_on)
    return made


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    web.run_app(application(plan["metrics"]), port=int(sys.argv[2]), access_log=None, print=None)
