"""The application: routes, headers and guards of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.web.candidate_pages import add_candidate_pages
from sluicegate.pipeline.review.web.case_pages import add_case_pages
from sluicegate.pipeline.review.web.figure_pages import add_figure_pages
from sluicegate.pipeline.review.web.journal_pages import add_journal_pages
from sluicegate.pipeline.review.web.lead_pages import add_lead_pages
from sluicegate.pipeline.review.web.live import LiveCounts, add_live
from sluicegate.pipeline.review.web.login import add_login
from sluicegate.pipeline.review.web.oidc import Issuer
from sluicegate.pipeline.review.web.queue_pages import add_queue_pages
from sluicegate.pipeline.review.web.rendering import HEADERS, STATIC, page
from sluicegate.pipeline.review.web.sessions import PREFERENCES, Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_HERE = {"127.0.0.1", "::1", "localhost"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
FORM_BYTES = 65_536
"""A form has no room for more: no answer needs it."""


def make_app(desk: ReviewDesk, *, demo: bool) -> FastAPI:
    """The pages of a desk.

    Args:
        desk: It runs.
        demo: True lets anybody log in under a name of the demo's. For a loopback address alone.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    sessions = Sessions(desk.store, secure=not demo)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    issuer = None if desk.settings.oidc_issuer is None else Issuer(desk.settings, desk.store)
    add_login(app, sessions, issuer, demo=demo)
    pages = (add_queue_pages, add_case_pages, add_lead_pages, add_figure_pages, add_candidate_pages)
    for add in (*pages, add_journal_pages):
        add(app, desk, sessions)
    app.state.live = LiveCounts(desk, sessions)
    add_live(app, app.state.live)

    @app.get("/livez")
    def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        troubles = desk.troubles
        return JSONResponse({"ready": not troubles, "troubles": troubles}, 503 if troubles else 200)

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(desk.metrics.text())

    @app.exception_handler(HTTPException)
    def _told(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and request.method in _SAFE:
            return RedirectResponse("/login", 303)
        session = sessions.find(request)
        language = PREFERENCES["language"] if session is None else session.language
        values: dict[str, Any] = {"status": error.status_code, "session": session}
        return page("error.html", language, values, status=error.status_code)

    @app.middleware("http")
    async def _guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = _refused(request, demo=demo)
        response = await answer(request) if refused is None else PlainTextResponse(*refused)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _refused(request: Request, *, demo: bool) -> tuple[str, int] | None:
    """Why a request is refused before anybody looks at it, and the status that says so; None if it is not."""
    host = request.headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:  # such as `[::1`
        return "the Host header is no address; open the address that the desk printed\n", 400
    # A name of somebody else's that leads to this machine would make its pages ours, and the demo asks for no password.
    if demo and name not in _HERE:
        return "the demo answers to a loopback address alone\n", 403
    if request.method in _SAFE:
        return None
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > FORM_BYTES:
        return "the form is too large, or does not say how large it is\n", 403
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        return "a form of another site\n", 403
    return None
