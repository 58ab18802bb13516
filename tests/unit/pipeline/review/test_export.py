"""The export: whole, noted, and without effect where it is opened."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from sluicegate.pipeline.review import export
from sluicegate.pipeline.review.export import COLUMNS, as_csv, as_json, cell, csv_head, exported
from sluicegate.pipeline.review.tables import events
from support.cases import HERON, Bench, judged, post
from support.hostile_posts import HOSTILE

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def rows_of(bench: Bench, **asked: Any) -> list[dict[str, Any]]:
    return list(exported(bench.store, bench.vault, actor="crane", form="csv", **asked))


def read(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """As a spreadsheet reads it."""
    written = csv_head() + "".join(map(as_csv, rows))
    csv.field_size_limit(2**20)  # a text may be 200 kB; Python's own limit for a field is 131,072
    return list(csv.DictReader(io.StringIO(written, newline="")))


def test_hostile_posts_go_through_without_an_effect(store: ReviewStore) -> None:
    bench = Bench(store, text_s=366 * 86_400)
    texts = {f"h{number}": text for number, text in enumerate(HOSTILE)}
    assert len(texts) >= 40
    for name, text in texts.items():
        hostile = post(name, text)
        bench.take(hostile, judged(hostile))
    for case in bench.all():
        reason = texts[bench.verdict(case.case_id).post_id][:400].replace("\0", "")
        bench.answer(case.case_id, action="block", categories=("=1+1",), reason=reason)
    rows = rows_of(bench, texts=True)
    assert {row["post_id"]: row["text"] for row in map(json.loads, map(as_json, rows))} == texts
    for row in rows:
        line = as_json(row)
        assert line.isascii()
        assert len(line.splitlines()) == 1
    opened = read(rows)
    assert [one["post_id"] for one in opened] == [row["post_id"] for row in rows]
    for one in opened:
        assert None not in one
        assert tuple(one) == COLUMNS
        for value in one.values():
            assert value.lstrip()[:1] not in {"=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"}
            hidden = [
                mark for mark in value if unicodedata.category(mark) in {"Cf", "Cc"} and mark not in "\n\r\t"
            ]
            assert not hidden


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("\t =1+1", "'\t =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a=1", "a=1"),
        (["-2", "b"], "'-2, b"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        (None, ""),
        (0.5, "0.5"),
    ],
)
def test_no_cell_is_a_formula(value: Any, shown: str) -> None:
    assert cell(value) == shown


def test_an_export_is_whole_and_in_the_journal_before_its_first_row(
    store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_AT_ONCE", 2)
    bench = Bench(store)
    texts = [post(f"p{number}", tenant="forum" if number else "shop") for number in range(5)]
    for one in texts:
        bench.take(one, judged(one))
    bench.answer(bench.all()[0].case_id, HERON, "block")
    found = exported(store, bench.vault, actor="crane", form="csv", tenant="forum")
    first = next(found)
    with store.reading() as connection:
        (noted,) = connection.execute(select(events).where(events.c.what == "cases exported")).all()
    assert (noted.actor, noted.object, json.loads(noted.details)) == (
        "crane",
        "forum",
        {"form": "csv", "texts": False},
    )
    assert {row["post_id"] for row in (first, *found)} == {"p1", "p2", "p3", "p4"}
    rows = rows_of(bench)
    assert len(rows) == 5
    assert [row["action"] for row in rows if row["state"] == "decided"] == ["block"]
    assert all(row["text"] is None for row in rows)


def test_a_text_that_is_gone_is_no_text(store: ReviewStore) -> None:
    bench, mine = Bench(store), post(author_id="user-17")
    bench.take(mine, judged(mine))
    with store.writing() as connection:
        bench.vault.erase(connection, "default", "user-17")
    (row,) = rows_of(bench, texts=True)
    assert row["text"] is None
