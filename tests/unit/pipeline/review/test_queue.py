"""Which case comes next, and whose it is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from sluicegate.pipeline.review.queue import QueueFilter, Reviewer, waiting_for
from sluicegate.pipeline.review.tables import cases, skips
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore

MILD = {"safe": 0.9, "controversial": 0.08, "unsafe": 0.02}
GRAVE = {"safe": 0.05, "controversial": 0.45, "unsafe": 0.5}


def filled(store: ReviewStore, *given: dict[str, Any], **settings: Any) -> Bench:
    bench = Bench(store, **settings)
    for number, one in enumerate(given):
        text = post(f"case {number}", **one.get("post", {}))
        bench.take(text, judged(text, **one.get("verdict", {})))
    return bench


def served(bench: Bench, reviewer: Reviewer = HERON) -> list[str]:
    """Posts in the order in which a reviewer gets them."""
    found = []
    while (case_id := bench.next(reviewer)) is not None:
        bench.answer(case_id, reviewer)
        found.append(bench.sent()[-1].key)
    return found


def test_harm_and_doubt_come_first_and_breakers_last(store: ReviewStore) -> None:
    withheld = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    bench = filled(
        store,
        {"verdict": {"scores": MILD, "severity": "safe"}},
        {"verdict": {"scores": GRAVE, "severity": "unsafe", "breaker": withheld}},
        {"verdict": {"scores": GRAVE, "severity": "unsafe"}},
    )
    assert served(bench) == ["case 2", "case 0", "case 1"]


def test_what_many_read_and_what_has_waited_comes_first(store: ReviewStore) -> None:
    bench = filled(
        store,
        {"verdict": {"at": 0}},
        {"verdict": {"at": -3 * 6 * 3600}},
        {"post": {"metadata": {"readers": 3}}},
        {"post": {"metadata": {"readers": 30}}},
        reach="readers",
    )
    assert served(bench) == ["case 3", "case 1", "case 2", "case 0"]


def test_a_case_is_one_reviewers_until_the_lease_ends(store: ReviewStore) -> None:
    bench = filled(store, {}, {})
    first = bench.next(HERON)
    assert bench.next(HERON) == first, "who has one gets that one"
    second = bench.next(MAGPIE)
    assert second not in (None, first)
    assert bench.next(OWL) is None
    with store.writing() as connection:
        connection.execute(update(cases).where(cases.c.case_id == first).values(held_until=time.time() - 1))
    assert bench.next(OWL) == first


def test_a_sign_of_life_extends_the_lease_and_comes_too_late_once_somebody_else_has_it(
    store: ReviewStore,
) -> None:
    bench = filled(store, {})
    case_id = bench.next(HERON)
    assert case_id is not None
    with store.writing() as connection:
        until = bench.queue.hold(connection, case_id, HERON)
        assert until is not None
        assert until > time.time() + bench.settings.lease_s - 5
        assert bench.queue.hold(connection, case_id, MAGPIE) is None
        connection.execute(update(cases).values(held_until=time.time() - 1))
        assert bench.queue.hold(connection, case_id, MAGPIE) is not None
        assert bench.queue.hold(connection, case_id, HERON) is None
        bench.queue.release(connection, case_id, HERON)
    assert bench.next(OWL) is None, "nobody gives back what is not theirs"


def test_a_skipped_case_goes_to_others_and_never_comes_back(store: ReviewStore) -> None:
    bench = filled(store, {})
    case_id = bench.next(HERON)
    assert case_id is not None
    with store.writing() as connection:
        bench.queue.skip(connection, case_id, HERON)
        bench.queue.skip(connection, case_id, HERON)
    assert bench.next(HERON) is None
    assert bench.next(MAGPIE) == case_id


def test_a_reviewer_gets_what_was_asked_for_and_what_is_allowed(store: ReviewStore) -> None:
    bench = filled(
        store,
        {"post": {"tenant": "one", "language": "en"}},
        {"post": {"tenant": "two", "language": "de"}},
        {"post": {"tenant": "two", "language": "en"}, "verdict": {"categories": ["Violent"]}},
    )
    wren = Reviewer("wren", "reviewer", ("two",))
    with store.reading() as connection:
        for wanted, found in (
            (QueueFilter(), 2),
            (QueueFilter(tenant="one"), 0),
            (QueueFilter(language="de"), 1),
            (QueueFilter(category="Violent"), 1),
        ):
            assert len(bench.queue.listing(connection, wren, wanted, 10)) == found


def test_eight_who_ask_at_once_get_eight_cases(store: ReviewStore) -> None:
    bench = filled(store, *[{}] * 8)
    found: list[str | None] = []
    together = threading.Barrier(8)

    def ask(number: int) -> None:
        together.wait()
        found.append(bench.next(Reviewer(f"racer-{number}", "reviewer")))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert None not in found
    assert len(set(found)) == 8


def test_nobody_holds_releases_or_skips_a_case_of_another_tenant(store: ReviewStore) -> None:
    bench = filled(store, {})
    (case,) = bench.all()
    stranger = Reviewer("wren", "lead", ("other",))
    with store.writing() as connection:
        assert bench.queue.hold(connection, case.case_id, stranger) is None
        bench.queue.skip(connection, case.case_id, stranger)
        assert connection.execute(select(skips)).all() == []
    assert bench.next(HERON) == case.case_id
    moved = Reviewer("heron", "reviewer", ("other",))
    assert bench.next(moved) is None, "who has lost a tenant has lost the case in hand, too"


def test_a_category_s_queue_does_not_tell_what_the_machine_found_of_a_blind_case(store: ReviewStore) -> None:
    bench = filled(
        store, {"verdict": {"severity": "unsafe", "scores": GRAVE, "categories": ("Violent",)}}, blind_share=1
    )
    with store.reading() as connection:
        (row,) = bench.queue.listing(connection, HERON, QueueFilter(), 10)
        assert row.blind
        assert bench.queue.listing(connection, HERON, QueueFilter(category="Violent"), 10) == []
    assert bench.next(HERON, category="Violent") is None
    assert bench.next(HERON) == row.case_id


def test_a_case_that_waits_for_a_second_person_says_so(store: ReviewStore) -> None:
    """Where that person never comes, too: it stays in the list, with the reason."""
    bench = filled(store, {}, double_share=1)
    (case,) = bench.all()

    def told(reviewer: Reviewer) -> list[tuple[str, bool, int]]:
        with store.reading() as connection:
            rows = bench.queue.listing(connection, reviewer, QueueFilter(), 10)
            return [(waiting_for(row), bool(row.mine), row.skipped) for row in rows]

    assert told(HERON) == [("reviewer", False, 0)]
    bench.answer(case.case_id, HERON)
    assert (told(HERON), told(MAGPIE)) == (
        [("second_reader", True, 0)],
        [("second_reader", False, 0)],
    )
    with store.writing() as connection:
        bench.queue.skip(connection, case.case_id, MAGPIE)
    assert told(MAGPIE) == [("second_reader", False, 1)]
    assert bench.answer(case.case_id, OWL, "block").kind == "disagreed"
    assert told(OWL) == [("another_lead", True, 1)]
    assert told(Reviewer("kite", "lead")) == [("lead", False, 1)]
