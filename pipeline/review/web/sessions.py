"""Sessions: who is at the other end. They live in the store; a browser holds a token, and the store its hash."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Form, HTTPException
from sqlalchemy import bindparam, delete, insert, select, update
from starlette.requests import Request
from starlette.responses import Response

from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.queue import Reviewer
from sluicegate.pipeline.review.rights import Right, may
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import sessions

SESSION_S = 12 * 3600.0
_FIND = select(sessions).where(
    sessions.c.token_hash == bindparam("token_hash"), sessions.c.ends_at >= bindparam("now")
)
PREFERENCES: dict[str, Any] = {"language": "en", "keys": True, "veil": True}
"""What a reviewer may choose, and the choice of one who has not."""


@dataclass(frozen=True, slots=True)
class ReviewSession:
    """A reviewer who is logged in."""

    token_hash: str
    reviewer: Reviewer
    csrf: str
    """Every form of this session repeats it."""
    preferences: dict[str, Any]

    @property
    def language(self) -> str:
        """Of the pages."""
        return str(self.preferences["language"])

    def may(self, right: Right) -> bool:
        """Whether this reviewer has a right."""
        return may(self.reviewer.role, right)


class Sessions:
    """Begins, finds and ends sessions.

    Args:
        store: Where they live.
        secure: True sets a cookie that a browser sends over TLS alone.
    """

    def __init__(self, store: ReviewStore, *, secure: bool) -> None:
        self._store = store
        self._secure = secure
        # A browser takes a name with this prefix only for one host, over TLS, and for all of its paths.
        self.cookie = "__Host-sluicegate-review" if secure else "sluicegate-review"

    def begin(self, response: Response, name: str, role: str, tenants: Sequence[str] = ()) -> None:
        """Log somebody in."""
        token, now = secrets.token_urlsafe(32), time.time()
        with self._store.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends_at < now))
            connection.execute(
                insert(sessions).values(
                    token_hash=_hashed(token),
                    reviewer=name,
                    role=role,
                    tenants=orjson.dumps(tenants).decode(),
                    csrf=secrets.token_urlsafe(32),
                    preferences="{}",
                    begun_at=now,
                    ends_at=now + SESSION_S,
                )
            )
            note(connection, name, role, "logged in", name)
        self.set_cookie(response, self.cookie, token, int(SESSION_S))

    def set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        """Give a browser something to keep, which no script reads and no other site sends.

        Args:
            response: The answer.
            name: Of the cookie.
            value: Of it.
            seconds: How long it is kept.
        """
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def find(self, request: Request) -> ReviewSession | None:
        """The session of a request; None if nobody is logged in."""
        token = request.cookies.get(self.cookie, "")
        with self._store.reading() as connection:
            row = connection.execute(_FIND, {"token_hash": _hashed(token), "now": time.time()}).first()
        if row is None:
            return None
        reviewer = Reviewer(row.reviewer, row.role, tuple(orjson.loads(row.tenants)))
        return ReviewSession(
            row.token_hash, reviewer, row.csrf, {**PREFERENCES, **orjson.loads(row.preferences)}
        )

    def asking(self, right: Right | None) -> Callable[..., ReviewSession]:
        """A dependency of a page: the session of who asks for it.

        Args:
            right: What the page needs; None for a page of everybody who is logged in.
        """

        def ask(request: Request) -> ReviewSession:
            session = self.find(request)
            if session is None:
                raise HTTPException(401)
            if right is not None and not may(session.reviewer.role, right):
                raise HTTPException(403)
            return session

        return ask

    def sending(self, right: Right | None) -> Callable[..., ReviewSession]:
        """A dependency of a form: the session whose own page made it.

        Args:
            right: What the form needs; None for a form of everybody who is logged in.
        """
        ask = self.asking(right)

        def send(request: Request, csrf: Annotated[str, Form()]) -> ReviewSession:
            session = ask(request)
            if not is_of(session, csrf):
                raise HTTPException(403)
            return session

        return send

    def prefer(self, session: ReviewSession, preferences: dict[str, Any]) -> None:
        """Keep what a reviewer chose."""
        with self._store.writing() as connection:
            connection.execute(
                update(sessions)
                .where(sessions.c.token_hash == session.token_hash)
                .values(preferences=orjson.dumps({**session.preferences, **preferences}).decode())
            )

    def end(self, session: ReviewSession, response: Response) -> None:
        """Log somebody out."""
        with self._store.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == session.token_hash))
            note(
                connection, session.reviewer.name, session.reviewer.role, "logged out", session.reviewer.name
            )
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")


def is_of(session: ReviewSession, csrf: str) -> bool:
    """Whether a form came from a page of this session."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode())


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
