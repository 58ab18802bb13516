"""What an answer leads to: settled, read twice, disputed, refused; and the records that tell it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sqlalchemy import func, select, update

from sluicegate.pipeline.review.decisions import CaseAnswer
from sluicegate.pipeline.review.journal import note_view
from sluicegate.pipeline.review.queue import Reviewer
from sluicegate.pipeline.review.tables import cases, decisions, events, outbox, verdicts
from sluicegate.schemas import Action, Feedback, precedence
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from datetime import tzinfo

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
    assert (feedback.reason, feedback.reviewer, feedback.schema_version) == ("a threat", "heron", "1.2")
    verdict = bench.verdict(case_id)
    assert (feedback.found, feedback.engine, feedback.policy) == (
        verdict.severity,
        verdict.engine.digest,
        verdict.policy.digest,
    )
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
    assert [one.seen for one in made] == [("text",), (), ()], "nobody looked at the copies"
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


def test_a_clock_that_steps_back_discards_no_decision(
    store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, case_id = one_case(store)
    now = datetime.now(UTC)

    class Clock(datetime):
        """Each time it is asked it is a minute earlier."""

        asked = 0

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            cls.asked += 1
            return cls.fromtimestamp(now.timestamp() - 60 * cls.asked, tz)

    monkeypatch.setattr("sluicegate.pipeline.review.decisions.datetime", Clock)
    bench.answer(case_id, HERON, "allow")
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case_id, OWL)
    bench.answer(case_id, MAGPIE, "block")
    claims: precedence.Claims = ()
    for one in bench.resolutions():
        claims = precedence.add(claims, precedence.claim(one))
    assert precedence.standing(claims).name == bench.resolutions()[-1].resolution_id


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
            sample = bench.decisions.sample(connection, "default", 2, OWL)
            if sample is None:
                return 0
            assert sample.action == "allow"
            return bench.decisions.lift(
                connection,
                "default",
                OWL,
                policy=sample.policy,
                action=sample.action,
                size=2,
                most=100,
            )

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


def flooded(store: ReviewStore, cases_of: int, **policy: str) -> Bench:
    """A breaker's cases, and nobody has looked yet."""
    bench = Bench(store)
    flood(bench, cases_of, **policy)
    return bench


def flood(bench: Bench, cases_of: int, version: str = "1", tenant: str = "default") -> None:
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    for number in range(cases_of):
        text = post(f"flood {version} {number}", tenant=tenant)
        verdict = judged(text, breaker=withheld)
        digest = f"sha256:{version:0>64}"
        bench.take(
            text, verdict.model_copy(update={"policy": verdict.policy.model_copy(update={"digest": digest})})
        )


def lift(
    bench: Bench, lead: Reviewer = OWL, *, version: str = "1", action: str = "allow", most: int = 100
) -> int:
    with bench.store.writing() as connection:
        return bench.decisions.lift(
            connection,
            "default",
            lead,
            policy=f"sha256:{version:0>64}",
            action=Action(action),
            size=2,
            most=most,
        )


def test_a_lead_cannot_lift_a_flood_that_nobody_else_looked_at(store: ReviewStore) -> None:
    bench = flooded(store, 5)
    first, second, third, *_ = [case.case_id for case in bench.all()]
    bench.answer(first, OWL)
    bench.answer(second, OWL)
    assert lift(bench) == 0
    bench.answer(third, HERON)
    assert lift(bench) == 2
    with store.reading() as connection:
        told = connection.execute(
            select(events.c.details).where(events.c.what == "breaker cases lifted")
        ).scalar_one()
    assert orjson.loads(told) == {
        "cases": 2,
        "action": "allow",
        "policy": f"sha256:{'1':0>64}",
        "sample": {"heron": 1, "owl": 1},
    }


def test_a_sample_of_one_policy_lifts_no_case_of_another(store: ReviewStore) -> None:
    bench = flooded(store, 3, version="1")
    for case in bench.all()[:2]:
        bench.answer(case.case_id)
    flood(bench, 3, version="2")
    assert lift(bench) == 1
    assert lift(bench) == lift(bench, version="2") == 0
    assert {case.policy for case in bench.all()} == {f"sha256:{'2':0>64}"}


def test_a_sample_that_was_withdrawn_lifts_nothing_and_what_was_reopened_is_lifted_by_nobody(
    store: ReviewStore,
) -> None:
    bench = flooded(store, 6)
    seen = [case.case_id for case in bench.all()][:3]
    for case_id in seen:
        bench.answer(case_id)
    with store.writing() as connection:
        for case_id in seen[:2]:
            assert bench.decisions.reopen(connection, case_id, OWL)
        assert bench.decisions.sample(connection, "default", 2, OWL) is None
    assert lift(bench) == 0
    bench.answer(seen[0])
    assert lift(bench) == 3
    assert [case.case_id for case in bench.all()] == [seen[1]]
    with store.reading() as connection:
        assert bench.decisions.sample(connection, "default", 2, OWL) is None, "nothing is left to lift"


def test_a_lift_decides_what_the_lead_was_shown_and_nothing_else(store: ReviewStore) -> None:
    bench = flooded(store, 4, version="1")
    flood(bench, 4, version="2")
    for version, action in (("1", "block"), ("2", "allow")):
        for case in [one for one in bench.all() if one.policy.endswith(version)][:2]:
            bench.answer(case.case_id, action=action)
    assert lift(bench, version="1", action="allow") == 0, "the sample says something else"
    assert lift(bench, version="1", action="block", most=2) == 2
    assert lift(bench, version="1", action="block", most=2) == 0
    assert {case.policy for case in bench.all()} == {f"sha256:{'2':0>64}"}
    with store.reading() as connection:
        sample = bench.decisions.sample(connection, "default", 2, OWL)
    assert sample is not None
    assert (sample.policy, sample.action) == (f"sha256:{'2':0>64}", "allow")


def test_a_lead_of_another_tenant_lifts_reopens_and_makes_golden_nothing(store: ReviewStore) -> None:
    bench = flooded(store, 4)
    stranger = Reviewer("wren", "lead", ("other",))
    done, second, *_ = [case.case_id for case in bench.all()]
    bench.answer(done)
    bench.answer(second)
    with store.writing() as connection:
        assert bench.decisions.sample(connection, "default", 2, OWL) is not None
        assert bench.decisions.sample(connection, "default", 2, stranger) is None
        assert not bench.decisions.reopen(connection, done, stranger)
        assert not bench.decisions.make_golden(connection, done, stranger)
    assert lift(bench, stranger) == 0
    assert (bench.case(done).state, bench.case(done).golden) == ("decided", False)


def test_a_lead_who_was_one_of_two_readers_does_not_decide_between_them(store: ReviewStore) -> None:
    bench, case_id = one_case(store, double_share=1)
    bench.answer(case_id, OWL, "allow")
    bench.answer(case_id, MAGPIE, "block")
    for action in ("allow", "block"):
        told = bench.answer(case_id, OWL, action)
        assert (told.kind, "Another lead" in told.changed) == ("refused", True)
    with store.writing() as connection:
        assert bench.queue.hold(connection, case_id, OWL) is None, "nor does that lead keep others waiting"
    assert bench.case(case_id).state == "adjudication"


def test_who_was_shown_the_verdict_is_not_blind_whatever_the_form_says(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    bench.answer(case_id, HERON, blind=True)
    with store.writing() as connection:
        note_view(connection, "magpie", "reviewer", case_id, verdict=False)
        note_view(connection, "owl", "lead", case_id, verdict=True)
        assert bench.decisions.reopen(connection, case_id, OWL)
    bench.answer(case_id, OWL, "block", blind=True)
    assert [Feedback.model_validate_json(row.value).blind for row in bench.sent("feedback")] == [True, False]


def test_who_decides_between_two_readers_is_not_blind(store: ReviewStore) -> None:
    bench, case_id = one_case(store, double_share=1)
    for reviewer, action in ((HERON, "allow"), (MAGPIE, "block"), (OWL, "block")):
        bench.answer(case_id, reviewer, action, blind=True)
    *votes, told = [Feedback.model_validate_json(row.value) for row in bench.sent("feedback")]
    assert [(one.reviewer, one.basis, one.severity, one.blind) for one in votes] == [
        ("heron", "vote", "safe", True),
        ("magpie", "vote", "unsafe", True),
    ]
    assert not any(one.corrects for one in votes)
    assert (told.reviewer, told.basis, told.blind, told.corrects) == ("owl", "adjudicated", False, True)
    assert len({row.record_id for row in bench.sent("feedback")}) == 3


def test_an_answer_to_a_known_case_is_told_as_what_it_is_and_changes_nothing(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    bench.answer(case_id, HERON, "block")
    with store.writing() as connection:
        assert bench.decisions.make_golden(connection, case_id, OWL)
    assert bench.answer(case_id, MAGPIE, "allow").kind == "measured"
    known, measured = [Feedback.model_validate_json(row.value) for row in bench.sent("feedback")]
    assert (known.reviewer, known.corrects) == ("heron", True)
    assert (measured.reviewer, measured.basis, measured.severity) == ("magpie", "golden", "safe")
    assert not measured.corrects
    assert len(bench.resolutions()) == 1


def test_a_decided_case_that_has_no_verdict_left_is_not_opened_again(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    bench.answer(case_id)
    edited = post("a", "Something else altogether", revision=1)
    bench.take(edited, judged(edited, at=2, action="allow"))
    with store.writing() as connection:
        assert not bench.decisions.reopen(connection, case_id, OWL)
    assert bench.case(case_id).state == "decided"


def test_a_case_without_a_verdict_is_settled_by_nobody(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    with store.writing() as connection:
        connection.execute(update(verdicts).values(counts=False))
    assert bench.answer(case_id).kind == "refused"
    assert (bench.case(case_id).state, bench.sent()) == ("open", [])


def test_a_golden_case_that_is_skipped_or_has_lost_its_text_comes_to_nobody_again(store: ReviewStore) -> None:
    bench, case_id = one_case(store, golden_share=1)
    bench.answer(case_id, HERON)
    with store.writing() as connection:
        assert bench.decisions.make_golden(connection, case_id, OWL)
    assert bench.next(MAGPIE) == case_id
    with store.writing() as connection:
        assert bench.queue.hold(connection, case_id, MAGPIE) is not None, "it looks like any other"
        assert bench.queue.hold(connection, case_id, HERON) is None, "its answer is this reviewer's own"
        bench.queue.skip(connection, case_id, MAGPIE)
    assert bench.next(MAGPIE) is None
    wren = Reviewer("wren", "reviewer")
    assert bench.next(wren) == case_id, "what one skips, another one gets"
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.text_s + 1)
    assert bench.next(wren) is None
    assert (len(bench.sent()), bench.case(case_id).state) == (1, "decided")


def test_an_answer_to_a_golden_case_that_was_opened_again_meanwhile_is_refused(store: ReviewStore) -> None:
    bench, case_id = one_case(store, golden_share=1)
    bench.answer(case_id, HERON)
    with store.writing() as connection:
        assert bench.decisions.make_golden(connection, case_id, OWL)
    seen = bench.case(case_id).version
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case_id, OWL)
    assert bench.answer(case_id, MAGPIE, version=seen).kind == "refused"
    assert bench.answer(case_id, MAGPIE).kind == "settled", "it is a case like any other again"


def test_a_form_of_an_earlier_round_decides_nothing(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    version = bench.case(case_id).version
    bench.answer(case_id, HERON)
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, case_id, OWL)
    for reviewer in (HERON, MAGPIE):
        late = bench.answer(case_id, reviewer, "block", version=version)
        assert (late.kind, "has changed" in late.changed) == ("refused", True)
    assert bench.case(case_id).state == "open"


def test_a_reviewer_of_another_tenant_cannot_answer(store: ReviewStore) -> None:
    bench, case_id = one_case(store)
    stranger = Reviewer("wren", "reviewer", ("other",))
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
        reviewer = Reviewer(f"racer-{number}", "reviewer")
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
