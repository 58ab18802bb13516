"""Spreading: one decision for many copies. Some are told in the decision's transaction, and the others a part at a time.

What is still to be told stands in the store: a process that ends in between goes on where it was.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, literal, select, tuple_, update

from sluicegate.pipeline.review.cases import keep_resolution
from sluicegate.pipeline.review.tables import outbox, spreads, verdicts
from sluicegate.schemas import Action, Basis, Resolution, Verdict, encode, resolution_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

AT_ONCE = 200
"""Copies in one transaction: others decide meanwhile."""
_OF_VERDICT = ("post_id", "revision", "tenant", "kind", "content_hash", "author_id", "language", "region")


def of_verdict(verdict: Verdict, decision: str, action: Action) -> dict[str, Any]:
    """What a resolution has of its verdict, and its id.

    Args:
        verdict: The verdict that it supersedes.
        decision: Id of the decision, which may cover several posts.
        action: The action decided.
    """
    name = resolution_id(
        verdict_id=verdict.verdict_id, content=verdict.content_hash, decision=decision, action=action
    )
    return {
        "resolution_id": name,
        "verdict_id": verdict.verdict_id,
        "verdict_judged_at": verdict.judged_at,
        "action": action,
        **{field: getattr(verdict, field) for field in _OF_VERDICT},
    }


def put(connection: Connection, record_id: str, kind: str, author: str, key: str, value: bytes) -> None:
    """Put a record on its way to Kafka.

    Args:
        connection: The transaction of what it tells.
        record_id: Its id, the same whenever it is made.
        kind: ``resolution`` or ``feedback``.
        author: The author's name in the store.
        key: The record's key.
        value: The record.
    """
    connection.execute(
        insert(outbox).values(
            record_id=record_id,
            kind=kind,
            author_ref=author,
            key=key,
            value=value,
            made_at=time.time(),
        )
    )


def tell(
    connection: Connection, first: Row[Any], decision: str, resolution: Resolution, *, most: int = AT_ONCE
) -> None:
    """Publish a resolution, and the same for the other verdicts of its case.

    Args:
        connection: The transaction of the decision.
        first: The verdict that the resolution is about.
        decision: Its id.
        resolution: What was decided.
        most: Other verdicts that are told now. Those that are left are told by :func:`spread`.
    """
    _send(connection, resolution, first.author_ref)
    of_case = (verdicts.c.case_id == first.case_id) & verdicts.c.counts
    # Who joins the case later, because it was opened again, is told by another decision.
    until = connection.execute(select(func.max(verdicts.c.came_at)).where(of_case)).scalar_one()
    template = resolution.model_copy(update={"author_id": None})
    number = connection.execute(
        insert(spreads)
        .values(
            case_id=first.case_id,
            decision_id=decision,
            template=encode(template).decode(),
            after_at=first.came_at,
            after_id=first.verdict_id,
            until_at=until,
        )
        .returning(spreads.c.number)
    ).scalar_one()
    _go_on(connection, connection.execute(select(spreads).where(spreads.c.number == number)).one(), most)


def spread(connection: Connection, most: int = AT_ONCE) -> int:
    """Tell some of the verdicts that decisions have not been told of yet; how many.

    One that changed meanwhile, because its post was edited, is in its case no longer, and is not told.
    """
    row = connection.execute(
        select(spreads).order_by(spreads.c.number).limit(1).with_for_update(skip_locked=True)
    ).first()
    return 0 if row is None else max(1, _go_on(connection, row, most))


def _go_on(connection: Connection, row: Row[Any], most: int) -> int:
    template = Resolution.model_validate_json(row.template)
    place = tuple_(verdicts.c.came_at, verdicts.c.verdict_id)
    found = connection.execute(
        select(verdicts)
        .where(
            verdicts.c.case_id == row.case_id,
            verdicts.c.counts,
            place > tuple_(literal(row.after_at), literal(row.after_id)),
            verdicts.c.came_at <= row.until_at,
        )
        .order_by(verdicts.c.came_at, verdicts.c.verdict_id)
        .limit(most)
    ).all()
    # Nobody looked at these. What is withdrawn, is withdrawn as it was for the first.
    basis: dict[str, Any] = {} if template.reopens else {"basis": Basis.BULK, "seen": ()}
    for one in found:
        verdict = Verdict.model_validate_json(one.body)
        changes = of_verdict(verdict, row.decision_id, template.action) | basis
        _send(connection, template.model_copy(update=changes), one.author_ref)
    if len(found) < most:
        connection.execute(delete(spreads).where(spreads.c.number == row.number))
    else:
        connection.execute(
            update(spreads)
            .where(spreads.c.number == row.number)
            .values(after_at=found[-1].came_at, after_id=found[-1].verdict_id)
        )
    return len(found)


def _send(connection: Connection, resolution: Resolution, author: str) -> None:
    if keep_resolution(connection, resolution):
        value = encode(resolution)
        put(connection, resolution.resolution_id, "resolution", author, resolution.post_id, value)
