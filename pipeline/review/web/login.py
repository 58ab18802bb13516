"""The pages of logging in and out."""

import logging
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from sluicegate.pipeline.review.web.oidc import CALLBACK, Issuer, LoginRefusedError
from sluicegate.pipeline.review.web.rendering import page
from sluicegate.pipeline.review.web.sessions import PREFERENCES, ReviewSession, Sessions

_log = logging.getLogger("sluicegate.review")

DEMO: Mapping[str, str] = {"heron": "reviewer", "magpie": "reviewer", "owl": "lead"}
"""Names of the demo, each with its role."""
_LOOPBACK = {"127.0.0.1", "::1"}
_STATE_S = 600


def add_login(app: FastAPI, sessions: Sessions, issuer: Issuer | None, *, demo: bool) -> None:
    """Add the pages of logging in and out.

    Args:
        app: To it.
        sessions: Where they live.
        issuer: Who says who it is; None where none is set up.
        demo: True offers the demo's names, to callers on this machine alone.
    """
    waiting = f"{sessions.cookie}-login"

    @app.get("/login")
    def login(request: Request) -> Response:
        if sessions.find(request) is not None:
            return RedirectResponse("/", 303)
        names = DEMO if demo and _is_here(request) else {}
        values = {"session": None, "names": names, "issuer": issuer is not None}
        return page("login.html", PREFERENCES["language"], values)

    @app.post("/login")
    def demo_login(request: Request, name: Annotated[str, Form()]) -> Response:
        if not demo or not _is_here(request) or name not in DEMO:
            raise HTTPException(403)
        response = RedirectResponse("/", 303)
        sessions.begin(response, name, DEMO[name])
        return response

    if issuer is not None:
        _add_issuer(app, sessions, issuer, waiting)

    @app.post("/logout")
    def logout(session: Annotated[ReviewSession, Depends(sessions.sending(None))]) -> Response:
        response = RedirectResponse("/login", 303)
        sessions.end(session, response)
        return response


def _add_issuer(app: FastAPI, sessions: Sessions, issuer: Issuer, waiting: str) -> None:
    @app.get("/login/start")
    def start() -> Response:
        try:
            address, state = issuer.begin()
        except LoginRefusedError as error:
            _log.error("login: %s", error)
            raise HTTPException(503) from error
        response = RedirectResponse(address, 303)
        sessions.set_cookie(response, waiting, state, _STATE_S)
        return response

    @app.get(CALLBACK)
    def back(request: Request, code: str = "", state: str = "") -> Response:
        try:
            found = issuer.finish(code, state, request.cookies.get(waiting, ""))
        except LoginRefusedError as error:
            _log.warning("login refused: %s", error)
            raise HTTPException(403) from error
        response = RedirectResponse("/", 303)
        response.delete_cookie(waiting, path="/")
        sessions.begin(response, found.pseudonym, found.role, found.tenants)
        return response


def _is_here(request: Request) -> bool:
    return request.client is not None and request.client.host in _LOOPBACK
