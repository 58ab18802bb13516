"""The journal: who did what, to what, when. Rows are added, never changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, exists, insert, or_, select

from sluicegate.pipeline.review.tables import cases, events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row


VIEWED = "case viewed"
_ADD = insert(events)  # statements that are made once cost half: their cache key is known
_NEAR = select(cases.c.near_key).where(cases.c.case_id == bindparam("this")).scalar_subquery()
_SAW = (
    select(events.c.number)
    .where(
        events.c.object.in_(select(cases.c.case_id).where(cases.c.near_key == _NEAR)),
        events.c.actor == bindparam("who"),
        events.c.what == VIEWED,
        events.c.details == orjson.dumps({"verdict": True}).decode(),
    )
    .limit(1)
)


def latest(
    connection: Connection, tenants: Sequence[str], *, of: str = "", before: int | None = None, most: int
) -> Sequence[Row[Any]]:
    """Events, the latest first.

    Args:
        connection: A transaction.
        tenants: Whose cases they may be about; none are all. An event on no case and no tenant is of all.
        of: The case, person or tenant that they are about; empty is all.
        before: Those before the one with this number; None begins with the last one.
        most: How many.
    """
    asked = select(events).order_by(events.c.number.desc()).limit(most)
    if of:
        asked = asked.where(events.c.object == of)
    if before is not None:
        asked = asked.where(events.c.number < before)
    if tenants:
        theirs = exists().where(cases.c.case_id == events.c.object, cases.c.tenant.in_(tenants))
        asked = asked.where(or_(events.c.object.in_(tenants), theirs))
    return connection.execute(asked).all()


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
    return connection.execute(_SAW, {"this": case_id, "who": actor}).first() is not None


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
        _ADD,
        {
            "at": time.time(),
            "actor": actor,
            "role": role,
            "what": what,
            "object": of,
            "details": orjson.dumps(details or {}).decode(),
        },
    )
