"""The export: cases with what people decided, as a file that has no effect where it is opened.

JSON has every text as it is, in ASCII. CSV is for spreadsheets: no cell is a formula there, and what nobody sees is spelt out.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from sluicegate.pipeline.review.cases import first_member
from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import cases, decisions
from sluicegate.pipeline.review.unseen import spelt_out
from sluicegate.pipeline.review.vault import TextVault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

_AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and as full-width characters
_OF_CASE = ("case_id", "tenant", "language", "category", "cause", "state", "round", "copies", "probability")
_DECIDED = (
    "reviewer",
    "role",
    "basis",
    "authority",
    "blind",
    "machine_action",
    "action",
    "disposition",
    "severity",
    "categories",
    "reason",
    "decided_at",
)
COLUMNS = (*_OF_CASE, "opened_at", "post_id", "verdict_id", *_DECIDED, "text")
"""What a row has. ``text`` is null where it was not asked for, or is gone."""


def exported(
    store: ReviewStore, vault: TextVault, *, actor: str, form: str, tenant: str = "", texts: bool = False
) -> Iterator[dict[str, Any]]:
    """Every case with the decision that settled it. The journal has the export before its first row is read.

    Args:
        store: Where they are.
        vault: Has the texts.
        actor: Who exports.
        form: Its name in the journal: ``csv`` or ``jsonl``.
        tenant: Whose cases; empty is all.
        texts: Whether a row has the text of its case's first post.
    """
    with store.writing() as connection:
        note(connection, actor, "auditor", "cases exported", tenant, {"form": form, "texts": texts})
    place = ""
    while True:  # in parts: a long transaction would keep SQLite's log from being emptied
        with store.reading() as connection:
            rows = _part(connection, place, tenant)
            found = [_row(connection, vault, row, texts=texts) for row in rows]
        yield from found
        if len(rows) < _AT_ONCE:
            return
        place = rows[-1].case_id


def _part(connection: Connection, place: str, tenant: str) -> list[Row[Any]]:
    of_round = and_(
        decisions.c.case_id == cases.c.case_id, decisions.c.round == cases.c.round, decisions.c.settles
    )
    asked = (
        select(cases, *(decisions.c[name] for name in _DECIDED))
        .outerjoin(decisions, of_round)
        .where(cases.c.case_id > place)
        .order_by(cases.c.case_id)
        .limit(_AT_ONCE)
    )
    return list(connection.execute(asked.where(cases.c.tenant == tenant) if tenant else asked))


def _row(connection: Connection, vault: TextVault, row: Row[Any], *, texts: bool) -> dict[str, Any]:
    first = first_member(connection, row.case_id)
    post = vault.open(connection, first.post_key) if texts and first is not None else None
    found = {name: getattr(row, name) for name in (*_OF_CASE, *_DECIDED)}
    return {
        **found,
        "opened_at": _moment(row.opened_at),
        "decided_at": _moment(row.decided_at),
        "categories": None if row.categories is None else json.loads(row.categories),
        "post_id": None if first is None else first.post_id,
        "verdict_id": None if first is None else first.verdict_id,
        "text": None if post is None else post.text,
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def as_json(row: dict[str, Any]) -> str:
    """A line of JSON. It is ASCII: a terminal is told nothing by it, and a line ends where it seems to."""
    return json.dumps({name: row[name] for name in COLUMNS}) + "\n"


def as_csv(row: dict[str, Any]) -> str:
    """A row of CSV, its line end with it."""
    return _line(cell(row[name]) for name in COLUMNS)


def csv_head() -> str:
    """The first row of CSV."""
    return _line(COLUMNS)


def cell(value: Any) -> str:
    """What a value is in a spreadsheet: never a formula, and with nothing in it that nobody sees."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = ", ".join(value)
    text = spelt_out(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _line(cells: Any) -> str:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(cells)
    return written.getvalue()
