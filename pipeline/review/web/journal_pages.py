"""The page of the journal: who did what, to what, when. It is read only; nothing changes a row."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Query
from starlette.responses import Response

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.journal import latest
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.rendering import page
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions

_ROWS = 100


def add_journal_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add the page of the journal.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Asking = Annotated[ReviewSession, Depends(sessions.asking(Right.JOURNAL))]  # noqa: N806 - a type

    @app.get("/journal")
    def journal(
        session: Asking,
        of: Annotated[str, Query(max_length=256)] = "",
        before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    ) -> Response:
        of = of.replace("\0", "")  # PostgreSQL refuses it
        with desk.store.reading() as connection:
            rows = latest(connection, session.reviewer.tenants, of=of, before=before, most=_ROWS + 1)
        shown = rows[:_ROWS]
        older = {"of": of, "before": str(shown[-1].number)} if len(rows) > _ROWS else {}
        values = {
            "session": session,
            "rows": [(datetime.fromtimestamp(one.at, UTC), one) for one in shown],
            "of": of,
            "older": urlencode({name: value for name, value in older.items() if value}),
        }
        return page("journal.html", session.language, values)
