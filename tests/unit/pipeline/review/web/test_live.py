"""Streams of counts: at once, whenever they change, bounded in number, and over with the session or the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from sluicegate.pipeline.review.web import live
from sluicegate.pipeline.review.web.app import make_app
from sluicegate.pipeline.review.web.live import LiveCounts
from sluicegate.pipeline.review.web.sessions import Sessions
from support.cases import Bench, post
from support.desk import desk_of, serving, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


def asks(bench: Bench, role: str = "reviewer", tenants: tuple[str, ...] = ()) -> tuple[Request, Sessions]:
    sessions, response = Sessions(bench.store, secure=False), Response()
    sessions.begin(response, "heron", role, tenants)
    cookie = response.headers["set-cookie"].partition(";")[0].encode()
    return Request({"type": "http", "headers": [(b"cookie", cookie)]}), sessions


def counts(told: str) -> Any:
    return orjson.loads(told.removeprefix("data: "))


async def test_counts_come_at_once_and_a_stream_ends_with_its_session(tmp_path: Path) -> None:
    with desk_of(tmp_path, post("one")) as (desk, bench):
        request, sessions = asks(bench, "lead")
        stream = LiveCounts(desk, sessions, each_s=0.01).stream(request)
        assert counts(await anext(stream)) == {"open": 1, "adjudication": 0}
        assert await anext(stream) == ":\n\n", "nothing has changed"
        session = sessions.find(request)
        assert session is not None
        sessions.end(session, Response())
        assert [one async for one in stream] == ["event: ended\ndata:\n\n"]


async def test_a_reviewer_is_told_of_open_cases_of_their_tenants_alone(tmp_path: Path) -> None:
    with desk_of(tmp_path, post("one"), post("two", tenant="market")) as (desk, bench):
        request, sessions = asks(bench, "reviewer", ("market",))
        stream = LiveCounts(desk, sessions).stream(request)
        assert counts(await anext(stream)) == {"open": 1}
        await stream.aclose()


@pytest.mark.parametrize("role", ["administrator", "unheard of"])
async def test_who_may_see_no_case_is_told_no_count(tmp_path: Path, role: str) -> None:
    with desk_of(tmp_path, post("one")) as (desk, bench):
        request, sessions = asks(bench, role)
        assert [one async for one in LiveCounts(desk, sessions).stream(request)] == [
            "event: ended\ndata:\n\n"
        ]


async def test_listeners_are_bounded_and_one_that_leaves_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LISTENERS_MOST", 1)
    with desk_of(tmp_path, post("one")) as (desk, bench):
        request, sessions = asks(bench)
        counted = LiveCounts(desk, sessions)
        first = counted.stream(request)
        await anext(first)
        assert [one async for one in counted.stream(request)] == ["retry: 60000\n\n"]
        await first.aclose()
        assert counted.listeners == 0
        again = counted.stream(request)
        assert (await anext(again)).startswith("data: ")
        await again.aclose()


async def test_a_server_that_stops_ends_every_stream(tmp_path: Path) -> None:
    with desk_of(tmp_path, post("one")) as (desk, bench):
        request, sessions = asks(bench)
        counted = LiveCounts(desk, sessions, each_s=3600)
        stream = counted.stream(request)
        await anext(stream)
        counted.close()
        assert [one async for one in stream] == []


def test_a_browser_that_goes_away_leaves_no_listener(tmp_path: Path) -> None:
    with desk_of(tmp_path, post("one")) as (desk, _):
        app = make_app(desk, demo=True)
        with serving(app) as address, httpx.Client(base_url=address, follow_redirects=True) as browser:
            browser.post("/login", data={"name": "heron"})
            for _ in range(2):
                with browser.stream("GET", "/queue/counts") as reply:
                    assert reply.headers["content-type"].startswith("text/event-stream")
                    assert reply.headers["x-accel-buffering"] == "no"
                    parts = reply.iter_text()  # held: one that nobody holds closes the connection
                    assert counts(next(parts)) == {"open": 1}
                    assert app.state.live.listeners == 1
                until("the listener to be gone", lambda: app.state.live.listeners == 0)


def test_nobody_who_is_not_logged_in_is_told_a_count(tmp_path: Path) -> None:
    with (
        desk_of(tmp_path, post("one")) as (desk, _),
        serving(make_app(desk, demo=True)) as address,
        httpx.Client(base_url=address) as stranger,
    ):
        assert stranger.get("/queue/counts").text == "event: ended\ndata:\n\n"
