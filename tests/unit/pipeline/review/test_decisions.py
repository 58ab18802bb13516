"""What an answer leads to: settled, read twice, disputed, refused; and the records that tell it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from sluicegate.pipeline.review.decisions import CaseAnswer
from sluicegate.pipeline.review.tables import cases, decisions, events, outbox
from sluicegate.schemas import Action, Feedback, precedence
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def one_case(store: ReviewStore, **settings: Any) -> tuple[Bench, str]:
    bench, text = Bench(store, **settings), post(author_id="user-17")
    bench.take(text, judged(text, at=1))
    return bench, bench.all()[0].case_id


def test_an_answer_settles_a_case_and_says_so_in_two_records(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    seen = ("text", "verdict")
    outcome = bench.answer(
        case_id, action="block", categories=("Violent",), disposition="takedown", seen=seen, reason="a threat"
    )
    assert (outcome.kind, bench.case(case_id).state) == ("settled", "decided")
    (resolution,) = bench.resolutions()
    assert (resolution.action, resolution.severity, resolution.categories) == (
        "block",
        "unsafe",
        ("Violent",),
    )
    assert (resolution.authority, resolution.basis, resolution.reviewer) == ("reviewer", "single", "heron")
    assert (resolution.cause, resolution.seen) == ("review", seen)
    (row,) = bench.sent("feedback")
    feedback = Feedback.model_validate_json(row.value)
    assert (feedback.verdict_id, feedback.post.id) == (resolution.verdict_id, "a")
    assert (feedback.reason, feedback.reviewer, feedback.schema_version) == ("a threat", "heron", "1.1")
    assert row.key == bench.sent()[0].key == "a"


def test_the_same_answer_again_changes_nothing_and_another_one_is_refused(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    version = bench.case(case_id).version
    assert bench.answer(case_id, version=version).kind == "settled"
    assert bench.answer(case_id, version=version).kind == "repeated"
    assert bench.answer(case_id, action="block", version=version).kind == "refused"
    assert len(bench.sent()) == 1


def test_who_comes_second_is_told_what_changed(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    version = bench.case(case_id).version
    bench.answer(case_id)
    late = bench.answer(case_id, MAGPIE, "block", version=version)
    assert (late.kind, late.changed) == ("refused", "Somebody else has decided the case meanwhile.")
    assert len(bench.sent()) == 1


def test_an_answer_about_a_text_that_was_edited_meanwhile_is_refused(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    version = bench.case(case_id).version
    edited = post("a", "Something else altogether", revision=1)
    bench.take(edited, judged(edited, at=2))
    late = bench.answer(case_id, version=version)
    assert (late.kind, "was changed" in late.changed) == ("refused", True)
    assert bench.sent() == []


def test_a_lease_that_is_over_costs_nothing_unless_somebody_else_has_the_case(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    assert bench.next(HERON) == case_id
    with store.writing() as connection:
        connection.execute(update(cases).values(held_until=time.time() - 1))
    assert bench.next(MAGPIE) == case_id
    late = bench.answer(case_id, HERON)
    assert (late.kind, "somebody else has it" in late.changed) == ("refused", True)
    assert bench.answer(case_id, MAGPIE).kind == "settled"


def test_one_decision_is_for_all_near_copies_and_teaches_once(store: ReviewStore) -> None:
    bench = Bench(store)
    copies = [post(name, "The same words from several people") for name in "abc"]
    for one in copies:
        bench.take(one, judged(one))
    bench.answer(bench.all()[0].case_id, action="block")
    made = bench.resolutions()
    assert [one.post_id for one in made] == ["a", "b", "c"]
    assert [one.basis for one in made] == ["single", "bulk", "bulk"]
    assert len({one.resolution_id for one in made}) == 3
    assert len(bench.sent("feedback")) == 1


def test_two_who_agree_settle_a_double_case(store: ReviewStore) -> None:
    bench, case_id = one_case(store, double_share=1)
    assert bench.answer(case_id, HERON).kind == "first"
    assert (bench.sent(), bench.case(case_id).state) == ([], "open")
    assert bench.next(HERON) is None, "nobody gets a case twice"
    assert bench.next(MAGPIE) == case_id
    assert bench.answer(case_id, MAGPIE).kind == "settled"
    (resolution,) = bench.resolutions()
    assert (resolution.basis, resolution.authority) == ("double", "reviewer")


def test_two_who_disagree_leave_it_to_a_lead_who_is_neither(store: ReviewStore) -> None:
    bench, case_id = one_case(store, double_share=1)
    assert bench.answer(case_id, HERON, "allow").kind == "first"
    assert bench.answer(case_id, MAGPIE, "block").kind == "disagreed"
    assert (bench.sent(), bench.case(case_id).state) == ([], "adjudication")
    assert bench.next(MAGPIE) is None
    assert bench.next(OWL) == case_id
    assert bench.answer(case_id, OWL, "block").kind == "settled"
    (resolution,) = bench.resolutions()
    assert (resolution.basis, resolution.authority, resolution.reviewer) == (
        "adjudicated",
        "adjudicator",
        "owl",
    )


def test_a_case_that_was_reopened_is_the_machines_until_a_person_decides_anew(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    bench.answer(case_id, HERON, "allow")
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case_id, OWL)
        assert not bench.decisions.reopen(connection, case_id, OWL)
    assert (bench.case(case_id).state, bench.case(case_id).round) == ("open", 1)
    assert bench.next(HERON) == case_id, "whoever decided the first round may decide the second"
    bench.answer(case_id, HERON, "block")
    first, reopened, second = bench.resolutions()
    assert len({first.resolution_id, reopened.resolution_id, second.resolution_id}) == 3
    claims: precedence.Claims = ()
    for one in (second, first, reopened):
        claims = precedence.add(claims, precedence.claim(one))
    assert precedence.standing(claims).name == second.resolution_id


def test_a_golden_case_measures_and_changes_nothing(store: ReviewStore) -> None:
    bench, case_id = one_case(store, golden_share=1)
    bench.answer(case_id, HERON)
    with store.writing() as connection:
        assert bench.decisions.make_golden(connection, case_id, OWL)
    assert bench.next(HERON) is None
    assert bench.next(MAGPIE) == case_id
    assert bench.answer(case_id, MAGPIE, "block").kind == "measured"
    assert (len(bench.sent()), bench.case(case_id).state) == (1, "decided")
    assert bench.next(MAGPIE) is None


def test_breaker_cases_are_lifted_at_once_after_people_found_a_sample_alike(store: ReviewStore) -> None:
    bench = Bench(store)
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    for number in range(6):
        text = post(f"flood {number}")
        bench.take(text, judged(text, breaker=withheld))
    bench.take(post("apart"), judged(post("apart")))

    def lift() -> int:
        with store.writing() as connection:
            return bench.decisions.lift(connection, "default", OWL, size=2, most=100)

    flood = [case.case_id for case in bench.all() if case.breaker]
    assert lift() == 0, "nobody has looked yet"
    bench.answer(flood[0], action="block", disposition="takedown")
    bench.answer(flood[1], action="allow")
    assert lift() == 0, "the two are not alike"
    bench.answer(flood[2], action="allow")
    assert lift() == 3
    assert lift() == 0
    assert [(case.cause, case.breaker) for case in bench.all()] == [("review", False)]
    lifted = bench.resolutions()[3:]
    assert {(one.action, one.basis, one.cause, one.seen) for one in lifted} == {
        ("allow", "bulk", "breaker", ())
    }
    assert len(bench.sent("feedback")) == 3, "what nobody looked at teaches nothing"


def test_a_reviewer_of_another_tenant_cannot_answer(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    stranger = type(HERON)("wren", "reviewer", ("other",))
    assert bench.next(stranger) is None
    assert bench.answer(case_id, stranger).kind == "refused"


def test_without_its_text_a_decision_teaches_nothing_and_still_counts(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    with store.writing() as connection:
        assert bench.vault.erase(connection, "default", "user-17") == 1
    bench.answer(case_id)
    assert (len(bench.sent()), bench.sent("feedback")) == (1, [])


def test_eight_reviewers_at_once_settle_each_case_once(store: ReviewStore) -> None:
    bench = Bench(store)
    texts = [post(f"raced {number}") for number in range(12)]
    for text in texts:
        bench.take(text, judged(text))
    found = {case.case_id: case.version for case in bench.all()}
    outcomes: list[tuple[str, str]] = []
    together = threading.Barrier(8)

    def race(number: int) -> None:
        reviewer = type(HERON)(f"racer-{number}", "reviewer")
        together.wait()
        for case_id, version in found.items():
            told = bench.answer(case_id, reviewer, "allow" if number % 2 else "block", version=version)
            outcomes.append((case_id, told.kind))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(outcomes) == 8 * 12
    assert sorted(case_id for case_id, kind in outcomes if kind == "settled") == sorted(found)
    assert {kind for _, kind in outcomes} == {"settled", "refused"}
    assert sorted(row.key for row in bench.sent()) == sorted(text.id for text in texts)
    with store.reading() as connection:
        settled = connection.execute(select(func.count()).where(decisions.c.settles)).scalar_one()
        told = connection.execute(select(func.count()).where(events.c.what == "case answered")).scalar_one()
    assert (settled, told) == (12, 12)


class CutError(Exception):
    """The process ends before the transaction does."""


@pytest.mark.parametrize("kind", ["resolution", "feedback"])
def test_a_decision_that_is_cut_leaves_nothing_and_made_again_has_the_same_ids(
    store: ReviewStore, kind: str
) -> None:
    bench, case_id = one_case(store)
    answer = CaseAnswer(version=bench.case(case_id).version, action=Action.ALLOW, severity="safe")
    names = []
    with pytest.raises(CutError), store.writing() as connection:
        bench.decisions.answer(connection, case_id, HERON, answer)
        names.append(connection.execute(select(outbox.c.record_id).where(outbox.c.kind == kind)).scalar_one())
        raise CutError
    assert (bench.sent(kind), bench.case(case_id).state) == ([], "open")
    assert bench.answer(case_id).kind == "settled"
    assert [row.record_id for row in bench.sent(kind)] == names
