"""Login. In a demo anybody on this machine may take one of three names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Form, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from sluicegate.pipeline.review.web.rendering import page
from sluicegate.pipeline.review.web.sessions import PREFERENCES, Sessions, is_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO: Mapping[str, str] = {"heron": "reviewer", "magpie": "reviewer", "owl": "lead"}
"""Names of the demo, each with its role."""
_LOOPBACK = {"127.0.0.1", "::1", "testclient"}


def add_login(app: FastAPI, sessions: Sessions, *, demo: bool) -> None:
    """Add the pages of logging in and out.

    Args:
        app: To it.
        sessions: Where they live.
        demo: True offers the demo's names, to callers on this machine alone.
    """

    @app.get("/login")
    def login(request: Request) -> Response:
        if sessions.find(request) is not None:
            return RedirectResponse("/queue", 303)
        names = DEMO if demo and _is_here(request) else {}
        return page("login.html", PREFERENCES["language"], {"session": None, "names": names})

    @app.post("/login")
    def demo_login(request: Request, name: Annotated[str, Form()]) -> Response:
        if not demo or not _is_here(request) or name not in DEMO:
            raise HTTPException(403)
        response = RedirectResponse("/queue", 303)
        sessions.begin(response, name, DEMO[name])
        return response

    @app.post("/logout")
    def logout(request: Request, csrf: Annotated[str, Form()]) -> Response:
        session = sessions.find(request)
        response = RedirectResponse("/login", 303)
        if session is not None and is_of(session, csrf):
            sessions.end(session, response)
        return response


def _is_here(request: Request) -> bool:
    return request.client is not None and request.client.host in _LOOPBACK
