"""Spreading: one decision for many copies. Some are told in the decision's transaction, and the others a part at a time.

What is still to be told stands in the store: a process that ends in between goes on where it was.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, delete, func, insert, select, tuple_, update

from sluicegate.pipeline.review.cases import keep_resolution
from sluicegate.pipeline.review.tables import outbox, spreads, verdicts
from sluicegate.schemas import Action, Basis, Resolution, Verdict, encode, resolution_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

AT_ONCE = 200
"""Copies in one transaction: others decide meanwhile."""
_PUT = insert(outbox)
_BEHIND = (
    select(verdicts)
    .where(
        verdicts.c.case_id == bindparam("case"),
        verdicts.c.counts,
        tuple_(verdicts.c.came_at, verdicts.c.verdict_id)
        > tuple_(bindparam("after_at", type_=verdicts.c.came_at.type), bindparam("after_id", type_=String())),
        verdicts.c.came_at <= bindparam("until"),
    )
    .order_by(verdicts.c.came_at, verdicts.c.verdict_id)
    .limit(bindparam("most", type_=Integer()))
)
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
        _PUT,
        {
            "record_id": record_id,
            "kind": kind,
            "author_ref": author,
            "key": key,
            "value": value,
            "made_at": time.time(),
        },
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
    template = resolution.model_copy(update={"author_id": None})
    found = _after(connection, first.case_id, (first.came_at, first.verdict_id), most + 1)
    _tell(connection, found[:most], decision, template)
    if len(found) <= most:
        return
    last = found[most - 1]
    of_case = (verdicts.c.case_id == first.case_id) & verdicts.c.counts
    connection.execute(
        insert(spreads).values(
            case_id=first.case_id,
            decision_id=decision,
            template=encode(template).decode(),
            after_at=last.came_at,
            after_id=last.verdict_id,
            # Who joins the case later, because it was opened again, is told by another decision.
            until_at=select(func.max(verdicts.c.came_at)).where(of_case).scalar_subquery(),
        )
    )


def spread(connection: Connection, most: int = AT_ONCE) -> int:
    """Tell some of the verdicts that decisions have not been told of yet; how many.

    One that changed meanwhile, because its post was edited, is in its case no longer, and is not told.
    """
    row = connection.execute(
        select(spreads).order_by(spreads.c.number).limit(1).with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return 0
    found = _after(connection, row.case_id, (row.after_at, row.after_id), most, until=row.until_at)
    _tell(connection, found, row.decision_id, Resolution.model_validate_json(row.template))
    if len(found) < most:
        connection.execute(delete(spreads).where(spreads.c.number == row.number))
    else:
        connection.execute(
            update(spreads)
            .where(spreads.c.number == row.number)
            .values(after_at=found[-1].came_at, after_id=found[-1].verdict_id)
        )
    return len(found)


def _after(
    connection: Connection, case_id: str, place: tuple[float, str], most: int, until: float = math.inf
) -> Sequence[Row[Any]]:
    """The verdicts of a case behind one, in the order in which they came."""
    values = {"case": case_id, "after_at": place[0], "after_id": place[1], "most": most, "until": until}
    return connection.execute(_BEHIND, values).all()


def _tell(connection: Connection, rows: Sequence[Row[Any]], decision: str, template: Resolution) -> None:
    # Nobody looked at these. What is withdrawn, is withdrawn as it was for the first.
    basis: dict[str, Any] = {} if template.reopens else {"basis": Basis.BULK, "seen": ()}
    for one in rows:
        changes = of_verdict(Verdict.model_validate_json(one.body), decision, template.action) | basis
        _send(connection, template.model_copy(update=changes), one.author_ref)


def _send(connection: Connection, resolution: Resolution, author: str) -> None:
    if keep_resolution(connection, resolution):
        value = encode(resolution)
        put(connection, resolution.resolution_id, "resolution", author, resolution.post_id, value)
