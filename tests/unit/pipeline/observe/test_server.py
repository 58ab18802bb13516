from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.observe.server import OpsServer, Report
from sluicegate.pipeline.settings.tree import OpsSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def serving(live: Report, ready: Report) -> AsyncIterator[tuple[aiohttp.ClientSession, Metrics]]:
    metrics = Metrics()
    server = OpsServer(OpsSettings(port=0), metrics.registry, livez=lambda: live, readyz=lambda: ready)
    async with server, aiohttp.ClientSession(server.address) as session:
        yield session, metrics


async def test_a_probe_answers_200_or_503_with_its_reasons() -> None:
    holds = {"engine": {"reason": "away"}}
    async with serving(Report(True, {"ok": True}), Report(False, {"ok": False, "holds": holds})) as (
        session,
        _,
    ):
        async with session.get("/livez") as live:
            assert (live.status, await live.json()) == (200, {"ok": True})
        async with session.get("/readyz") as ready:
            assert ready.status == 503
            assert (await ready.json())["holds"] == holds


async def test_metrics_are_served_in_both_formats() -> None:
    async with serving(Report(True, {}), Report(True, {})) as (session, metrics):
        metrics.taken.inc(3)
        async with session.get("/metrics") as plain:
            assert "sluicegate_records_taken_total 3.0" in await plain.text()
        async with session.get(
            "/metrics", headers={"Accept": "application/openmetrics-text"}
        ) as open_metrics:
            assert (await open_metrics.text()).endswith("# EOF\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_nothing_can_be_written_here(method: str, path: str) -> None:
    async with (
        serving(Report(True, {}), Report(True, {})) as (session, _),
        session.request(method, path) as answer,
    ):
        assert answer.status == 405


async def test_a_taken_port_is_an_error_at_the_start() -> None:
    first = OpsServer(OpsSettings(port=0), Metrics().registry, livez=_ok, readyz=_ok)
    async with first:
        port = int(first.address.rsplit(":", 1)[1])
        second = OpsServer(OpsSettings(port=port), Metrics().registry, livez=_ok, readyz=_ok)
        with pytest.raises(OSError, match="address already in use"):
            await second.__aenter__()


def _ok() -> Report:
    body: dict[str, Any] = {}
    return Report(True, body)
