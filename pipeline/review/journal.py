"""The journal: who did what, to what, when. Rows are added, never changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import insert, select

from sluicegate.pipeline.review.tables import cases, events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


VIEWED = "case viewed"


def note_view(connection: Connection, actor: str, role: str, case_id: str, *, verdict: bool) -> None:
    """Add that a person looked at a case.

    Args:
        connection: The transaction.
        actor: Pseudonym of the person.
        role: The role in which it was done.
        case_id: The case.
        verdict: True if the machine's verdict was shown.
    """
    note(connection, actor, role, VIEWED, case_id, {"verdict": verdict})


def saw_verdict(connection: Connection, actor: str, case_id: str) -> bool:
    """Whether a person was ever shown the verdict of a case, or of a case of near copies."""
    near = select(cases.c.near_key).where(cases.c.case_id == case_id).scalar_subquery()
    shown = orjson.dumps({"verdict": True}).decode()
    found = connection.execute(
        select(events.c.number)
        .where(
            events.c.object.in_(select(cases.c.case_id).where(cases.c.near_key == near)),
            events.c.actor == actor,
            events.c.what == VIEWED,
            events.c.details == shown,
        )
        .limit(1)
    )
    return found.first() is not None


def note(
    connection: Connection,
    actor: str,
    role: str,
    what: str,
    of: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an event, in the transaction of what it tells.

    Args:
        connection: The transaction.
        actor: Pseudonym of who did it, or ``machine``.
        role: The role in which it was done.
        what: What was done, such as ``case decided``.
        of: What it was done to.
        details: More of it. Never a text.
    """
    connection.execute(
        insert(events).values(
            at=time.time(),
            actor=actor,
            role=role,
            what=what,
            object=of,
            details=orjson.dumps(details or {}).decode(),
        )
    )
