"""Candidates at the desk: disagreements are judged blindly, whatever comes first, and who was right is counted."""

from __future__ import annotations

import time
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from sluicegate.pipeline.review.candidates import HOLD_S, TriedPosts, experiment_figures
from sluicegate.pipeline.review.tables import posts, verdicts
from sluicegate.pipeline.settings.tree import CandidateSettings
from sluicegate.pipeline.shadow.records import ComparedPost, SummaryRecord
from sluicegate.pipeline.shadow.summary import ReviewCounts
from sluicegate.schemas import Action, Feedback, Post, Verdict
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore

EVERY = CandidateSettings(experiment="retrained", share=1.0)
SAFE = {"action": "allow", "severity": "safe", "scores": {"safe": 0.9, "controversial": 0.05, "unsafe": 0.05}}


def allowed(of: Post, **changes: Any) -> Verdict:
    """The incumbent let the post pass, and asks nobody."""
    return judged(of, **SAFE | changes)


def compared(verdict: Verdict, candidate: str = "block", **changes: Any) -> ComparedPost:
    """What the comparator says of a post."""
    values: dict[str, Any] = {
        "experiment": "retrained",
        "tenant": verdict.tenant,
        "post_id": verdict.post_id,
        "revision": verdict.revision,
        "content_hash": verdict.content_hash,
        "incumbent": verdict.action,
        "candidate": Action(candidate),
        "verdict_id": verdict.verdict_id,
        "probability": 1.0,
    }
    return ComparedPost(**values | changes)


def figures(bench: Bench, tenants: tuple[str, ...] = ()) -> Any:
    with bench.store.reading() as connection:
        (found,) = experiment_figures(connection, tenants)
    return found


def kept(bench: Bench, table: Any) -> int:
    with bench.store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_disagreement_becomes_a_blind_case_with_its_text_whatever_comes_first(
    store: ReviewStore, order: tuple[int, ...]
) -> None:
    bench, one = Bench(store, EVERY), post("p")
    verdict = allowed(one)
    events: list[Post | Verdict | ComparedPost] = [one, verdict, compared(verdict)]
    bench.take(*(events[number] for number in order))
    (case,) = bench.all()
    assert (case.cause, case.blind, case.probability) == ("candidate", True, 1.0)
    with store.reading() as connection:
        assert bench.vault.open(connection, _key(bench, case.case_id)) == one
    bench.take(*events)  # all of it comes again
    assert len(bench.all()) == 1
    assert (figures(bench).asked, figures(bench).waiting) == (1, 1)


def _key(bench: Bench, case_id: str) -> str:
    with bench.store.reading() as connection:
        found = connection.execute(
            select(verdicts.c.post_key).where(verdicts.c.case_id == case_id)
        ).scalar_one()
    return str(found)


def test_an_agreement_is_asked_about_with_its_probability_and_feedback_says_so(store: ReviewStore) -> None:
    bench, one = Bench(store, EVERY), post("p")
    verdict = allowed(one)
    bench.take(one, verdict, compared(verdict, "allow", probability=0.02))
    (case,) = bench.all()
    assert (case.cause, case.blind, case.probability) == ("candidate_audit", True, 0.02)
    bench.answer(case.case_id, HERON, "allow", blind=True)
    (sent,) = bench.sent("feedback")
    told = Feedback.model_validate_json(sent.value)
    assert (told.sampled_by, told.inclusion_probability, told.blind) == ("candidate_audit", 0.02, True)
    assert figures(bench).counts == ReviewCounts(both_right=1)


def test_who_was_right_is_counted_from_blind_decisions(store: ReviewStore) -> None:
    bench = Bench(store, EVERY)
    for name, action in (("a", "block"), ("b", "allow"), ("c", "block")):
        one = post(name)
        bench.take(one, allowed(one), compared(allowed(one)))
        (case,) = bench.all()
        bench.answer(case.case_id, HERON, action, blind=True)
    found = figures(bench)
    assert (found.counts, found.waiting) == (ReviewCounts(candidate_right=2, incumbent_right=1), 0)
    assert [one.person for one in found.newest] == [Action.BLOCK, Action.ALLOW, Action.BLOCK]
    assert figures(bench, (post().tenant,)).asked == 3


def test_what_was_decided_with_the_verdict_in_view_does_not_count(store: ReviewStore) -> None:
    bench, one = Bench(store, EVERY), post("p")
    verdict = judged(one)
    bench.take(one, verdict)
    (case,) = bench.all()
    bench.answer(case.case_id, HERON, "block")
    bench.take(compared(verdict, "allow"))
    assert figures(bench).counts == ReviewCounts()


def test_a_case_that_waits_already_becomes_blind_unless_somebody_has_it(store: ReviewStore) -> None:
    bench, free, taken = Bench(store, EVERY), post("free"), post("taken")
    bench.take(taken, judged(taken))
    held = bench.next(MAGPIE)
    bench.take(free, judged(free))
    bench.take(compared(judged(free), "block"), compared(judged(taken), "block"))
    blind = {case.case_id: case.blind for case in bench.all()}
    assert blind.pop(str(held)) == 0
    assert [*blind.values()] == [1]
    assert {case.cause for case in bench.all()} == {"review"}


def test_a_reopened_case_waits_again(store: ReviewStore) -> None:
    bench, one = Bench(store, EVERY), post("p")
    bench.take(one, allowed(one), compared(allowed(one)))
    (case,) = bench.all()
    bench.answer(case.case_id, HERON, "block", blind=True)
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case.case_id, OWL)
    assert (figures(bench).counts, figures(bench).waiting) == (ReviewCounts(), 1)


def test_a_desk_without_an_experiment_keeps_no_text_of_what_asks_nobody(store: ReviewStore) -> None:
    for settings, texts in ((None, 0), (CandidateSettings(experiment="x", share=1e-9), 0), (EVERY, 1)):
        bench, one = Bench(store, settings), post("p")
        bench.take(one, allowed(one))
        assert kept(bench, posts) == texts


def test_texts_of_the_sample_go_where_nobody_asks_about_them_in_time(store: ReviewStore) -> None:
    bench, quiet, loud = Bench(store, EVERY), post("quiet"), post("loud")
    bench.take(quiet, allowed(quiet), loud, allowed(loud), compared(allowed(loud)))
    for later, left in ((HOLD_S / 2, 2), (HOLD_S + 60, 1)):
        with store.writing() as connection:
            bench.cases.sweep(connection, time.time() + later)
        assert (kept(bench, posts), kept(bench, verdicts)) == (left, left)
    assert len(bench.all()) == 1
    # Who asks too late gets no case: nobody could read it.
    bench.take(compared(allowed(quiet)))
    assert len(bench.all()) == 1
    assert (figures(bench).asked, figures(bench).waiting) == (2, 1)


def test_an_erased_author_is_asked_about_by_nobody(store: ReviewStore) -> None:
    bench, one = Bench(store, EVERY), post("p", author_id="a")
    bench.take(one, allowed(one))
    with store.writing() as connection:
        bench.vault.erase(connection, one.tenant, "a")
    bench.take(compared(allowed(one)))
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + 3_600)
    assert bench.all() == []


def test_the_newest_summary_is_kept(store: ReviewStore) -> None:
    bench = Bench(store, EVERY)
    for number in (1, 2):
        with store.writing() as connection:
            TriedPosts.keep_summary(
                connection, SummaryRecord(experiment="retrained", document={"number": number})
            )
    assert figures(bench).document == {"number": 2}
