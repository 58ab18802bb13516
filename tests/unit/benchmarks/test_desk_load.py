"""The store that the desk's load is measured on is one that a desk works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desk_load.study import BREAKERS, fill, read_whole, report
from sqlalchemy import select

from sluicegate.pipeline.review.cases import first_member
from sluicegate.pipeline.review.tables import cases
from support.cases import HERON, Bench
from support.review_store import opened

if TYPE_CHECKING:
    from pathlib import Path


def test_a_filled_store_has_cases_that_are_served_in_order_and_with_their_texts(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'review.db'}") as store:
        fill(store, 2 * BREAKERS, texts=BREAKERS)
        bench = Bench(store)
        assert sorted(case.breaker for case in bench.all()) == [False] * (2 * BREAKERS - 2) + [True] * 2
        assert len(bench.all("decided")) == 2 * BREAKERS + 1
        case_id = bench.next(HERON)
        assert case_id is not None
        with store.reading() as connection:
            first = first_member(connection, case_id)
            assert first is not None
            assert bench.vault.open(connection, first.post_key) is not None
        assert bench.answer(case_id).kind == "settled"


def test_a_statement_that_reads_a_whole_table_is_named_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'review.db'}") as store:
        whole = str(
            select(cases.c.case_id).where(cases.c.reach > 1).compile(compile_kwargs={"literal_binds": True})
        )
        one = "SELECT cases.case_id FROM cases WHERE cases.case_id = 'a'"
        (told,) = read_whole(store, {whole: (), one: ()})
    assert told.startswith("SCAN cases: SELECT cases.case_id")


def test_a_report_has_percentiles_in_milliseconds() -> None:
    found = report([0.001 * number for number in range(1, 101)])
    assert (found["requests"], found["most_ms"]) == (100, 100.0)
    assert found["p50_ms"] < found["p95_ms"] < found["p99_ms"]
