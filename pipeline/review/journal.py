"""The journal: who did what, to what, when. Rows are added, never changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import insert

from sluicegate.pipeline.review.tables import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


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
