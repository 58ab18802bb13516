"""The pages of the queue: what waits, and the way to the next case."""

import re
import time
from functools import partial
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, FastAPI, Form, Query, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.queue import QueueFilter
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.rendering import LANGUAGES, page
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions

_LISTED = 50
_PAGES = re.compile(r"/(queue|figures|model|journal|cases/[0-9a-f-]{36})")
TOLD = frozenset(
    {
        "settled",
        "first",
        "disagreed",
        "measured",
        "repeated",
        "skipped",
        "empty",
        "lifted",
        "not_lifted",
        "pause",
    }
)
"""What a page may say of the case before."""


def wanted_queue(
    tenant: Annotated[str, Query(max_length=64)] = "",
    language: Annotated[str, Query(max_length=35)] = "",
    category: Annotated[str, Query(max_length=64)] = "",
) -> QueueFilter:
    """The part of the queue that an address names."""
    return QueueFilter(tenant, language, category)


Wanted = Annotated[QueueFilter, Depends(wanted_queue)]


def address(wanted: QueueFilter, path: str, **more: str) -> str:
    """The address of a page that keeps to a part of the queue.

    Args:
        wanted: That part.
        path: Of the page.
        more: What else the address says; nothing is said of an empty value.
    """
    named = {"tenant": wanted.tenant, "language": wanted.language, "category": wanted.category, **more}
    said = urlencode({name: value for name, value in named.items() if value})
    return f"{path}?{said}" if said else path


def add_queue_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add the pages of the queue.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Asking = Annotated[ReviewSession, Depends(sessions.asking(Right.VIEW))]  # noqa: N806 - a type
    Sending = Annotated[ReviewSession, Depends(sessions.sending(Right.DECIDE))]  # noqa: N806 - a type

    @app.get("/")
    def root(session: Annotated[ReviewSession, Depends(sessions.asking(None))]) -> Response:
        return RedirectResponse("/queue" if session.may(Right.VIEW) else "/figures", 303)

    @app.get("/queue")
    def queue(
        session: Asking,
        wanted: Wanted,
        told: Annotated[str, Query(max_length=16)] = "",
    ) -> Response:
        tenants = session.reviewer.tenants
        counted = desk.figures.current()
        size = desk.settings.lift_sample
        with desk.store.reading() as connection:
            rows = desk.queue.listing(connection, session.reviewer, wanted, _LISTED)
            seen, pause_s = desk.queue.exposure(connection, session.reviewer)
            lifts = [
                (one, sample)
                for one in counted.breakers(tenants if session.reviewer.leads else None)
                if (sample := desk.decisions.sample(connection, one, size, session.reviewer)) is not None
            ]
        values = {
            "session": session,
            "rows": rows,
            "lifts": lifts,
            "open": counted.open("open", tenants),
            "disputed": counted.open("adjudication", tenants),
            "queues": [
                one
                for one in counted.queues
                if one.state == "open" and (not tenants or one.tenant in tenants)
            ],
            "wanted": wanted,
            "at": partial(address, wanted),
            "seen": seen,
            "cap": desk.settings.exposure_cap,
            "pause_minutes": int(pause_s // 60) + 1,
            "told": told if told in TOLD else "",
            "now": time.time(),
        }
        return page("queue.html", session.language, values)

    @app.post("/next")
    def take_next(session: Sending, wanted: Wanted) -> Response:
        with desk.store.writing() as connection:
            return go_on(connection, desk, session, wanted)

    @app.post("/preferences")
    def prefer(
        request: Request,
        session: Annotated[ReviewSession, Depends(sessions.sending(None))],
        language: Annotated[str, Form()] = "",
        keys: Annotated[str, Form()] = "",
        veil: Annotated[str, Form()] = "",
    ) -> Response:
        chosen = {"keys": keys == "on", "veil": veil == "on"}
        if language in LANGUAGES:
            chosen |= {"language": language}  # type: ignore[dict-item]  # values differ by name
        sessions.prefer(session, chosen)
        return RedirectResponse(_page_before(request), 303)


def go_on(
    connection: Connection, desk: ReviewDesk, session: ReviewSession, wanted: QueueFilter, told: str = ""
) -> RedirectResponse:
    """Go to the next case, or to the queue where there is none.

    Args:
        connection: The transaction of what was done before: each that ends waits for the disk.
        desk: It runs.
        session: Whose next case.
        wanted: The part of the queue.
        told: What the page says of the case before.
    """
    _, pause_s = desk.queue.exposure(connection, session.reviewer)
    case_id = None if pause_s else desk.queue.next(connection, session.reviewer, wanted)
    if pause_s:
        return RedirectResponse(address(wanted, "/queue", told="pause"), 303)
    if case_id is None:
        return RedirectResponse(address(wanted, "/queue", told="empty"), 303)
    return RedirectResponse(address(wanted, f"/cases/{case_id}", told=told), 303)


def _page_before(request: Request) -> str:
    """The page of ours that a form was on; the queue where a browser does not say."""
    try:
        said = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/queue"
    if _PAGES.fullmatch(said.path) is None:
        return "/queue"
    return f"{said.path}?{said.query}" if said.query else said.path
