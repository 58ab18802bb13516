"""A decision for a flood of copies is told a part at a time, and of none twice or never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from sluicegate.pipeline.review import spreading
from sluicegate.pipeline.review.outbox import waiting
from sluicegate.pipeline.review.spreading import AT_ONCE, spread
from sluicegate.pipeline.review.tables import spreads
from sluicegate.schemas import precedence
from support.cases import HERON, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore
    from sluicegate.schemas import Post

WORDS = "The same words from several people"


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a test are some dozens: of them, three are told at once."""
    monkeypatch.setattr("sluicegate.pipeline.review.decisions.AT_ONCE", 3)
    assert spreading.AT_ONCE == AT_ONCE


def flood(store: ReviewStore, copies: int) -> tuple[Bench, str, list[Post]]:
    bench = Bench(store)
    texts = [post(f"copy {number:02}", WORDS) for number in range(copies)]
    bench.take(*texts, *(judged(one, at=1, name=one.id) for one in texts))
    (case,) = bench.all()
    assert case.copies == copies
    return bench, case.case_id, texts


def told(bench: Bench, most: int = 3) -> int:
    with bench.store.writing() as connection:
        return spread(connection, most)


def all_told(bench: Bench) -> None:
    while told(bench):
        pass
    with bench.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(spreads)).scalar_one() == 0


def ends(bench: Bench) -> dict[str, str]:
    """The action that counts of each post, whatever order its records are read in."""
    claims: dict[str, precedence.Claims] = {}
    for one in reversed(bench.resolutions()):
        claims[one.post_id] = precedence.add(claims.get(one.post_id, ()), precedence.claim(one))
    found = {name: precedence.standing(of).record for name, of in claims.items()}
    return {name: record.action.value for name, record in found.items() if record is not None}


@pytest.mark.parametrize("copies", [1, 2, 3, 4, 7, 10])
def test_a_decision_reaches_every_copy_once_however_many_there_are(store: ReviewStore, copies: int) -> None:
    bench, case_id, texts = flood(store, copies)
    assert bench.answer(case_id, action="block").kind == "settled"
    assert len(bench.sent()) == min(copies, 4), "the one that was seen, and three more"
    with store.reading() as connection:
        assert waiting(connection) == len(bench.sent()) + len(bench.sent("feedback")) + (copies > 4)
    all_told(bench)
    made = bench.resolutions()
    assert sorted(one.post_id for one in made) == [one.id for one in texts]
    assert [one.basis for one in made] == ["single", *["bulk"] * (copies - 1)]
    assert len({(one.decided_at, one.action, one.reviewer) for one in made}) == 1
    assert len(bench.sent("feedback")) == 1


def test_a_part_that_is_cut_is_told_again_with_the_same_ids(store: ReviewStore) -> None:
    bench, case_id, texts = flood(store, 9)
    bench.answer(case_id)

    class CutError(Exception):
        """The process ends before the transaction does."""

    def cut() -> None:
        with bench.store.writing() as connection:
            assert spread(connection, 3) == 3
            raise CutError

    before = [row.record_id for row in bench.sent()]
    with pytest.raises(CutError):
        cut()
    assert [row.record_id for row in bench.sent()] == before
    again = Bench(store)
    all_told(again)
    assert [row.record_id for row in again.sent()][: len(before)] == before
    assert sorted(one.post_id for one in again.resolutions()) == [one.id for one in texts]


def test_a_copy_that_changes_before_it_is_told_is_decided_for_what_it_is(store: ReviewStore) -> None:
    bench, case_id, texts = flood(store, 9)
    bench.answer(case_id, action="block")
    edited = post(texts[-1].id, "Something else altogether", revision=1)
    again = judged(texts[-2], at=5, name="judged again")
    bench.take(edited, judged(edited, at=2, action="allow"), again)
    all_told(bench)
    made = {one.post_id: one.verdict_id for one in bench.resolutions()}
    assert set(made) == {one.id for one in texts[:-1]}, "nobody decided about the edited text"
    assert texts[-2].id in made, "the same text, judged once more, is decided"
    assert bench.all() == []


@pytest.mark.parametrize("action", ["allow", "review"])
def test_a_copy_that_is_judged_again_before_it_is_told_stays_decided(store: ReviewStore, action: str) -> None:
    bench, case_id, texts = flood(store, 9)
    bench.answer(case_id, action="block")
    bench.take(judged(texts[-2], at=5, name="judged again", action=action))
    all_told(bench)
    assert ends(bench) == dict.fromkeys([one.id for one in texts], "block")
    assert bench.all() == []


def test_a_case_that_is_opened_again_before_all_were_told_ends_as_it_was_decided_last(
    store: ReviewStore,
) -> None:
    bench, case_id, texts = flood(store, 9)
    bench.answer(case_id, HERON, "allow")
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case_id, OWL)
    late: Any = post("late", WORDS)
    bench.take(late, judged(late, at=1, name="late"))
    bench.answer(case_id, HERON, "block")
    all_told(bench)
    assert ends(bench) == dict.fromkeys([one.id for one in [*texts, late]], "block")
