"""What records of Kafka do to cases, in whatever order they come."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from sluicegate.pipeline.review.cases import members
from sluicegate.pipeline.review.rank import chance
from sluicegate.pipeline.review.tables import posts, verdicts
from sluicegate.schemas import Action, Authority, Resolution, ResolutionCause, Verdict, precedence
from support.cases import OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def count(bench: Bench, table: Any) -> int:
    with bench.store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def reopened(of: Resolution) -> Resolution:
    """A person withdraws a decision."""
    return of.model_copy(
        update={
            "resolution_id": "0c0ffee0-9f07-5f0c-8a3f-4b8d1c1a7e11",
            "action": Action.REVIEW,
            "severity": None,
            "categories": (),
            "authority": Authority.MACHINE,
            "cause": ResolutionCause.REOPENED,
            "decided_at": of.decided_at + timedelta(seconds=1),
        }
    )


def about(bench: Bench, case_id: str) -> list[str]:
    with bench.store.reading() as connection:
        return [row.verdict_id for row in members(connection, case_id)]


@pytest.mark.parametrize("post_first", [True, False])
def test_a_verdict_and_its_post_make_one_case_in_either_order_and_however_often(
    store: ReviewStore, post_first: bool
) -> None:
    bench, text = Bench(store), post()
    records: list[Any] = [text, judged(text)] if post_first else [judged(text), text]
    bench.take(*records, *records)
    (case,) = bench.all()
    assert (case.cause, case.copies, case.version, case.round) == ("review", 1, 1, 0)
    assert about(bench, case.case_id) == [judged(text).verdict_id]


@pytest.mark.parametrize("post_first", [True, False])
def test_what_nobody_needs_to_see_leaves_nothing(store: ReviewStore, post_first: bool) -> None:
    bench, text = Bench(store), post()
    records: list[Any] = [text, judged(text, action="allow")]
    bench.take(*records[:: 1 if post_first else -1])
    assert bench.all() == []
    assert (count(bench, posts), count(bench, verdicts)) == (0, 0)


def test_a_case_whose_text_does_not_come_opens_without_it(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(judged(text))
    assert bench.all() == []
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.join_wait_s + 1)
    assert len(bench.all()) == 1


def test_a_text_is_dropped_when_its_time_is_over(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text))
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.text_s + 1)
    assert (count(bench, posts), len(bench.all())) == (0, 1)


def test_near_copies_are_one_case_and_reach_all_of_their_readers(store: ReviewStore) -> None:
    bench = Bench(store, reach="readers")
    copies = [
        post(name, "Buy these pills nowwwwww" + "w" * number, metadata={"readers": 100})
        for number, name in enumerate("abc")
    ]
    bench.take(*copies, *map(judged, copies), post("d"), judged(post("d")))
    assert sorted((case.copies, case.reach) for case in bench.all()) == [(1, 1.0), (3, 300.0)]


def test_copies_of_two_tenants_are_two_cases(store: ReviewStore) -> None:
    bench = Bench(store)
    both = [post(text="The same words for everybody", tenant=name) for name in ("one", "two")]
    bench.take(*both, *map(judged, both))
    assert [case.tenant for case in bench.all()] == ["one", "two"]


@pytest.mark.parametrize(
    "later",
    [
        {"revision": 1, "text": "An edited text that is something else"},
        {"revision": 0, "text": "A swapped text at an equal revision"},
    ],
)
def test_another_text_closes_the_open_case_and_asks_anew(store: ReviewStore, later: dict[str, Any]) -> None:
    bench, first = Bench(store), post()
    bench.take(first, judged(first, at=1))
    (before,) = bench.all()
    edited = post("a", **later)
    bench.take(edited, judged(edited, at=2))
    assert bench.case(before.case_id).state == "withdrawn"
    (after,) = bench.all()
    assert after.case_id != before.case_id
    bench.take(judged(first, at=1), judged(first, at=1.5))
    assert [case.case_id for case in bench.all()] == [after.case_id], "an older verdict changes nothing"


def test_a_case_is_closed_where_the_machine_judges_again_and_asks_nobody(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text, at=1))
    (case,) = bench.all()
    bench.take(judged(text, at=2, action="allow"))
    assert bench.case(case.case_id).state == "withdrawn"


def test_a_case_lives_on_where_the_machine_judges_again_and_still_asks(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text, at=1))
    (case,) = bench.all()
    later = judged(text, at=2)
    bench.take(later)
    assert about(bench, case.case_id) == [later.verdict_id]
    assert bench.case(case.case_id).version == case.version, "a reviewer at work is not sent away"


@pytest.mark.parametrize("later", [{"revision": 1}, {"revision": 0}])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_verdict_that_is_outdated_when_it_comes_opens_no_case(
    store: ReviewStore, later: dict[str, Any], restarted: bool
) -> None:
    """The newer one asks nobody, and stands on another topic: it may be read first."""
    bench, first = Bench(store), post()
    newer = post("a", "Something else altogether", **later)
    bench.take(judged(newer, at=2, action="allow"))
    if restarted and later["revision"]:  # of an edited post the store knows; of others the memory does
        bench = Bench(store)
    bench.take(first, judged(first, at=1), newer)
    assert bench.all() == []
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.join_wait_s + 1)
    assert bench.all() == []
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.text_s + 1)
    assert (count(bench, posts), count(bench, verdicts)) == (0, 0)


@pytest.mark.parametrize("action", ["allow", "review"])
def test_a_post_that_is_edited_often_leaves_one_verdict_without_a_case(
    store: ReviewStore, action: str
) -> None:
    bench = Bench(store)
    edits = [post("a", f"The words of edit {number}", revision=number) for number in range(6)]
    bench.take(*(judged(one, at=one.revision, action=action) for one in edits))  # no text has come
    with store.reading() as connection:
        (left,) = connection.execute(select(verdicts.c.body)).scalars().all()
    assert Verdict.model_validate_json(left).revision == 5
    bench.take(edits[3], judged(edits[3], at=3))
    assert bench.all() == [], "an older verdict changes nothing"


def test_a_breaker_case_that_an_ordinary_verdict_inherits_is_an_ordinary_case(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    bench.take(text, judged(text, at=1, breaker=withheld))
    (case,) = bench.all()
    bench.take(judged(text, at=2, categories=("Violent",)))
    (after,) = bench.all()
    assert (after.case_id, after.cause, after.breaker) == (case.case_id, "review", False)
    assert (after.category, after.due_at) == ("Violent", case.due_at)
    late = bench.answer(case.case_id, version=case.version)
    assert late.kind == "refused", "it is not the case that was shown"
    bench.answer(case.case_id)
    assert bench.resolutions()[0].cause == "review"


def test_a_copy_that_is_judged_for_another_cause_has_a_case_of_its_own(store: ReviewStore) -> None:
    bench = Bench(store)
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    copies = [post(name, "The same words from several people") for name in "ab"]
    bench.take(*copies, *(judged(one, at=1, breaker=withheld, name=one.id) for one in copies))
    later = judged(copies[0], at=2, name="later")
    bench.take(later)
    assert {case.cause: case.copies for case in bench.all()} == {"breaker": 1, "review": 1}
    (own,) = [case for case in bench.all() if case.cause == "review"]
    assert about(bench, own.case_id) == [later.verdict_id]


@pytest.mark.parametrize("post_first", [True, False])
def test_a_post_that_is_published_and_judged_again_has_its_text(store: ReviewStore, post_first: bool) -> None:
    bench, text = Bench(store), post()
    records: list[Any] = [text, judged(text, at=1, action="allow")]
    bench.take(*records[:: 1 if post_first else -1])
    bench.take(text, judged(text, at=2))
    (case,) = bench.all()
    with store.reading() as connection:
        (row,) = members(connection, case.case_id)
        assert bench.vault.open(connection, row.post_key) == text


def test_a_post_that_comes_after_a_verdict_that_asks_has_its_text(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(judged(text, at=1, action="allow"), judged(text, at=2), text)
    (case,) = bench.all()
    with store.reading() as connection:
        (row,) = members(connection, case.case_id)
        assert bench.vault.open(connection, row.post_key) == text


def test_a_text_is_kept_for_its_time_after_it_came_last(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text))
    with store.writing() as connection:
        connection.execute(update(posts).values(came_at=0))
    bench.take(text)
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time())
    assert count(bench, posts) == 1


def test_what_was_decided_for_copies_stays_when_one_of_them_asks_anew(store: ReviewStore) -> None:
    bench = Bench(store)
    copies = [post(name, "The same words from several people") for name in "ab"]
    bench.take(*copies, *(judged(one, at=1) for one in copies))
    (case,) = bench.all()
    bench.answer(case.case_id, action="allow")
    edited = post("a", "Something else altogether")
    bench.take(edited, judged(edited, at=2, action="allow"))
    back = judged(copies[0], at=3)
    with store.writing() as connection:  # the decision on the first text was withdrawn elsewhere
        bench.cases.take_resolution(connection, reopened(bench.resolutions()[0]))
    bench.take(copies[0], back)
    (again,) = bench.all()
    assert about(bench, again.case_id) == [back.verdict_id]
    bench.answer(again.case_id, action="block")
    assert [(one.post_id, one.action) for one in bench.resolutions()] == [
        ("a", "allow"),
        ("b", "allow"),
        ("a", "block"),
    ]
    assert bench.case(case.case_id).state == "decided"


def test_the_post_that_a_reviewer_looks_at_stays_the_first_of_its_case(store: ReviewStore) -> None:
    bench = Bench(store)
    shown, late = (post(name, "The same words from several people") for name in ("shown", "late"))
    bench.take(judged(late, at=1, name="late"), shown, judged(shown, at=2, name="shown"))
    (case,) = bench.all()
    bench.take(late)
    assert bench.case(case.case_id).copies == 2
    assert bench.verdict(case.case_id).post_id == "shown"
    edited = post("shown", "Something else altogether", revision=1)
    bench.take(edited, judged(edited, at=3, action="allow"))
    assert bench.verdict(case.case_id).post_id == "late"
    assert bench.answer(case.case_id, version=case.version).kind == "refused", "it is not what was shown"


def test_a_case_that_is_opened_again_and_its_copies_end_alike(store: ReviewStore) -> None:
    bench = Bench(store)
    copies = [post(name, "The same words from several people") for name in "abc"]
    bench.take(*copies, *(judged(one, at=1) for one in copies))
    (case,) = bench.all()
    bench.answer(case.case_id, action="allow")
    edited = post("b", "Something else altogether", revision=1)
    bench.take(edited, judged(edited, at=2, action="allow"))
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case.case_id, OWL)
    assert bench.case(case.case_id).copies == 2
    bench.answer(case.case_id, action="block")
    counts: dict[str, Any] = {}
    for one in bench.resolutions():
        claims = counts.get(one.post_id, ())
        counts[one.post_id] = precedence.add(claims, precedence.claim(one))
    ends = {name: precedence.standing(claims).record for name, claims in counts.items()}
    assert {name: end.action for name, end in ends.items() if end} == {
        "a": "block",
        "b": "allow",
        "c": "block",
    }


def test_a_copy_that_is_edited_leaves_the_case_to_the_others(store: ReviewStore) -> None:
    bench = Bench(store)
    copies = [post(name, "The same words from several people") for name in "ab"]
    bench.take(*copies, *(judged(one, at=1) for one in copies))
    edited = post("a", "Something else altogether", revision=1)
    bench.take(edited, judged(edited, at=2, action="allow"))
    (case,) = bench.all()
    assert (case.copies, about(bench, case.case_id)) == (1, [judged(copies[1], at=1).verdict_id])


def test_no_later_verdict_on_the_same_content_asks_again_after_a_decision(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text, at=1))
    bench.answer(bench.all()[0].case_id)
    bench.take(judged(text, at=99))
    assert bench.all() == []
    edited = post("a", "Something else altogether")
    bench.take(edited, judged(edited, at=100))
    assert len(bench.all()) == 1, "the approval is for the text that was seen"


def test_a_decision_that_was_made_elsewhere_closes_the_case_in_either_order(store: ReviewStore) -> None:
    elsewhere, text = Bench(store), post("elsewhere")
    elsewhere.take(text, judged(text, at=1))
    elsewhere.answer(elsewhere.all()[0].case_id)
    (resolution,) = elsewhere.resolutions()
    other = resolution.model_copy(
        update={"resolution_id": "5e9a6b0c-9f07-5f0c-8a3f-4b8d1c1a7e11", "post_id": "b"}
    )
    bench, same = Bench(store), post("b", text.text)
    bench.take(same, judged(same, at=1))
    (case,) = bench.all()
    bench.take(other, other)
    assert bench.case(case.case_id).state == "withdrawn"
    bench.take(judged(same, at=7))
    assert bench.all() == []


def test_a_decision_that_reached_its_topic_is_not_sent_again(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text))
    bench.answer(bench.all()[0].case_id)
    bench.take(*bench.resolutions())
    (row,) = bench.sent()
    assert (row.value, row.sent_at is None) == (None, False)


def test_the_margin_takes_its_share_of_close_verdicts_alone_and_leaves_the_audit_as_it_was(
    store: ReviewStore,
) -> None:
    close = {"safe": 0.5, "controversial": 0.4, "unsafe": 0.1}
    sure = {"safe": 0.8, "controversial": 0.1, "unsafe": 0.1}
    bench = Bench(store, audit_share=0.2, margin_share=0.5)
    texts = [(post(f"{number}"), close if number % 2 else sure) for number in range(120)]
    made = [judged(text, action="allow", severity="safe", scores=scores) for text, scores in texts]
    for (text, _), verdict in zip(texts, made, strict=True):
        bench.take(text, verdict)
    found = bench.all()
    margin = [case for case in found if case.cause == "margin"]
    assert 12 <= len(margin) <= 36
    assert {(case.probability, case.blind) for case in margin} == {(0.4, True)}
    assert len({case.uncertainty for case in margin}) == 1, "the sure ones are left alone"
    audited = [
        one
        for one in made
        if chance("audit", one.tenant, one.post_id, one.revision, one.content_hash)
        < bench.settings.audit_share
    ]
    assert len(found) - len(margin) == len(audited), "close or not, the audit is as it was"


def test_novelty_takes_its_share_of_languages_that_are_not_familiar_and_of_what_earlier_draws_left(
    store: ReviewStore,
) -> None:
    bench = Bench(store, audit_share=0.2, margin_share=0.5, novelty_share=0.5, familiar_languages=("en",))
    scores = (
        {"safe": 0.5, "controversial": 0.4, "unsafe": 0.1},
        {"safe": 0.8, "controversial": 0.1, "unsafe": 0.1},
    )
    for number in range(240):
        text = post(f"{number}", language="cy" if number % 3 else "en")
        bench.take(text, judged(text, action="allow", severity="safe", scores=scores[number % 2]))
    novel = [case for case in bench.all() if case.cause == "novelty"]
    assert {(case.language, case.blind) for case in novel} == {("cy", True)}
    close, sure = ([one.probability for one in novel if one.probability == likely] for likely in (0.2, 0.4))
    assert len(close) + len(sure) == len(novel)
    assert 6 <= len(close) <= 28, "80 close ones, each at 0.8 x 0.5 x 0.5"
    assert 18 <= len(sure) <= 46, "80 sure ones, each at 0.8 x 0.5"


def test_the_audit_takes_its_share_of_all_verdicts_and_keeps_the_probability(store: ReviewStore) -> None:
    bench = Bench(store, audit_share=0.2)
    texts = [post(f"audited {number}") for number in range(60)]
    for text in texts:
        bench.take(
            text,
            judged(
                text, action="allow", severity="safe", scores={"safe": 1.0, "controversial": 0, "unsafe": 0}
            ),
        )
    audited = bench.all()
    assert 3 <= len(audited) <= 25
    assert {(case.cause, case.probability, case.blind) for case in audited} == {("audit", 0.2, True)}
    before = {case.case_id for case in audited}
    again = Bench(store, audit_share=0.2)
    again.take(*texts)
    assert {case.case_id for case in again.all()} == before, "chance picks the same ones again"


def test_breakers_and_failures_are_causes_of_their_own(store: ReviewStore) -> None:
    bench, one, two = Bench(store), post("one"), post("two")
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    failed: dict[str, Any] = {
        "failure": {"code": "timed_out", "mode": "review"},
        "scores": None,
        "severity": None,
        "assessed_by": "none",
    }
    bench.take(one, judged(one, breaker=withheld), two, judged(two, **failed))
    assert {case.cause: case.breaker for case in bench.all()} == {"breaker": True, "failure": False}


@pytest.mark.parametrize("again", [False, True])
def test_an_older_verdict_that_is_read_again_leaves_a_reopened_case_whole(
    store: ReviewStore, again: bool
) -> None:
    bench, text = Bench(store), post()
    old, new = judged(text, at=1), judged(text, at=2)
    bench.take(text, old, new)
    (case,) = bench.all()
    bench.answer(case.case_id)
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case.case_id, OWL)
    if again:  # as after a rebuild
        store.forget_read_model()
        bench = Bench(store)
    bench.take(text, old)
    assert about(bench, case.case_id) == [new.verdict_id]
    bench.take(new)
    assert about(bench, case.case_id) == [new.verdict_id]
    assert bench.answer(case.case_id, action="block").kind == "settled"


def test_a_reopening_opens_the_decided_case_of_a_store_that_was_restored(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text, judged(text, at=1))
    (case,) = bench.all()
    bench.answer(case.case_id)
    (decided,) = bench.resolutions()
    bench.take(decided, reopened(decided), reopened(decided))
    after = bench.case(case.case_id)
    assert (after.state, after.round, after.closed_at) == ("open", 1, None)
    assert about(bench, case.case_id) == [judged(text, at=1).verdict_id]


def test_a_reopening_of_one_copy_leaves_the_others_decided(store: ReviewStore) -> None:
    bench = Bench(store)
    copies = [post(name, "The same words from several people") for name in "ab"]
    made = [judged(one, at=1, name=one.id) for one in copies]
    bench.take(*copies, *made)
    (case,) = bench.all()
    bench.answer(case.case_id)
    bench.take(reopened(bench.resolutions()[0]))
    (own,) = bench.all()
    one, other = (about(bench, name) for name in (own.case_id, case.case_id))
    assert (one, other) == ([made[0].verdict_id], [made[1].verdict_id])
    assert bench.case(case.case_id).state == "decided"


def test_the_order_of_records_makes_no_difference(store: ReviewStore) -> None:
    """Of a post that is edited, judged twice and copied, in every order."""
    first, second = post("a", "The first words of a"), post("a", "The second words of a", revision=1)
    records: list[Any] = [first, judged(first, at=1), second, judged(second, at=2)]
    for number, order in enumerate(itertools.permutations(records)):
        bench = Bench(store)
        named = [
            one.model_copy(update={"post_id": f"a{number}", "verdict_id": f"{one.verdict_id} {number}"})
            if isinstance(one, Verdict)
            else one.model_copy(update={"id": f"a{number}"})
            for one in order
        ]
        bench.take(*named)
        with store.reading() as connection:
            left = connection.execute(
                select(verdicts.c.body, verdicts.c.case_id).where(
                    verdicts.c.post_id == f"a{number}", verdicts.c.counts
                )
            ).all()
        (row,) = left
        assert Verdict.model_validate_json(row.body).revision == 1
        assert row.case_id is not None


def test_the_order_of_resolutions_makes_no_difference(store: ReviewStore) -> None:
    """Of a post that is judged twice, decided elsewhere, and reopened, in every order."""
    elsewhere, text = Bench(store), post("elsewhere")
    elsewhere.take(text, judged(text, at=1))
    elsewhere.answer(elsewhere.all()[0].case_id)
    (decided,) = elsewhere.resolutions()
    again = judged(text, at=2)
    records: list[Any] = [text, judged(text, at=1), again, decided, reopened(decided)]
    for number, order in enumerate(itertools.permutations(records)):
        bench, name = Bench(store), f"b{number}"
        same = post(name, f"{text.text} {number}")
        content = judged(same).content_hash
        named: list[Any] = []
        for one in order:
            if isinstance(one, Verdict):
                of = {"post_id": name, "verdict_id": f"{one.verdict_id} {number}", "content_hash": content}
                named.append(one.model_copy(update=of))
            elif isinstance(one, Resolution):
                of = {"post_id": name, "resolution_id": f"{one.resolution_id[:31]}{number:05}"}
                named.append(one.model_copy(update={**of, "content_hash": content}))
            else:
                named.append(same)
        bench.take(*named)
        with store.reading() as connection:
            left = connection.execute(
                select(verdicts.c.verdict_id, verdicts.c.case_id).where(
                    verdicts.c.post_id == name, verdicts.c.counts
                )
            ).all()
        ((verdict_id, case_id),) = left
        assert verdict_id == f"{again.verdict_id} {number}"
        case = bench.case(case_id)
        assert (case.state, case.copies) == ("open", 1)
