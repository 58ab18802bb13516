"""What people look at is counted as it was decided, with how sure it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.review.figures import (
    HOUR_S,
    HOURS,
    WINDOW_S,
    CountedShare,
    DecidedFigures,
    QueueFigures,
    count_decided,
    count_queues,
)
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def counted(store: ReviewStore, later_s: float = 0) -> DecidedFigures:
    with store.reading() as connection:
        return count_decided(connection, time.time() + later_s)


def decide(bench: Bench, name: str, action: str, verdict: dict[str, Any] | None = None, **of: Any) -> str:
    """A case comes, and heron decides it. The machine would allow, unless its verdict says otherwise."""
    answer = {key: of.pop(key) for key in ("blind",) if key in of}
    text = post(name, **of)
    bench.take(text, judged(text, **(verdict or {})))
    (case,) = bench.all()
    bench.answer(case.case_id, action=action, **answer)
    return str(case.case_id)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_an_interval_has_its_share_within_and_narrows_with_what_was_counted(hits: int, more: int) -> None:
    one = CountedShare(hits, hits + more)
    assert 0 <= one.low <= one.high <= 1
    if one.share is None:
        assert (one.low, one.high) == (0, 1)
    else:
        assert one.low - 1e-9 <= one.share <= one.high + 1e-9
        tenfold = CountedShare(10 * hits, 10 * (hits + more))
        assert tenfold.high - tenfold.low < one.high - one.low


def test_an_interval_is_wilsons() -> None:
    assert (CountedShare(2, 10).low, CountedShare(2, 10).high) == pytest.approx((0.0567, 0.5098), abs=1e-4)


def test_what_was_overturned_is_told_apart_by_who_saw_the_verdict_and_by_what_it_was(
    store: ReviewStore,
) -> None:
    bench = Bench(store)
    harmful: dict[str, Any] = {"severity": "unsafe", "categories": ("Violent",)}
    decide(bench, "a", "allow", blind=True, language="en")
    decide(bench, "b", "block", blind=True, language="zh")
    decide(bench, "c", "block", language="zh")
    decide(bench, "d", "block", harmful, language="en")
    figures = counted(store)
    assert figures.overturned() == (2, 4)
    assert figures.overturned(blind=True) == (1, 2)
    assert figures.overturned(blind=False) == (1, 2)
    assert figures.overturned_by("language") == {"en": (0, 2), "zh": (2, 2)}
    assert figures.overturned_by("category") == {"": (2, 3), "Violent": (0, 1)}
    rule = judged(post()).policy.rule
    assert figures.overturned_by("rule", cause="review") == {rule: (2, 4)}
    assert figures.overturned(cause="audit") == (0, 0)


def test_what_could_not_be_scored_and_what_nobody_looked_at_overturns_nothing(store: ReviewStore) -> None:
    bench = Bench(store)
    failed = {
        "failure": {"code": "timed_out", "mode": "review"},
        "scores": None,
        "severity": None,
        "assessed_by": "none",
    }
    decide(bench, "failed", "block", failed)
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    floods = [post(f"flood {number}") for number in range(4)]
    bench.take(*floods, *(judged(one, breaker=withheld) for one in floods))
    for case in bench.all()[:2]:
        bench.answer(case.case_id, action="allow")
    with store.writing() as connection:
        sample = bench.decisions.sample(connection, "default", 2, OWL)
        assert sample is not None
        lifted = bench.decisions.lift(
            connection, "default", OWL, policy=sample.policy, action=sample.action, size=2, most=10
        )
        assert lifted == 2
    assert counted(store).overturned_by("cause") == {"breaker": (2, 2)}


def test_an_audit_is_overturned_where_a_person_says_otherwise_than_the_machine_did(
    store: ReviewStore,
) -> None:
    bench = Bench(store, audit_share=1)
    decide(bench, "a", "allow", {"action": "block"})
    decide(bench, "b", "block", {"action": "block"})
    assert counted(store).overturned(cause="audit") == (1, 2)


def test_agreement_counts_each_pair_once_and_for_both_of_its_readers(store: ReviewStore) -> None:
    bench = Bench(store, double_share=1)
    for number, second in enumerate(["allow", "block"]):
        text = post(f"{number}", language="en")
        bench.take(text, judged(text))
        (case,) = bench.all()
        bench.answer(case.case_id, HERON, "allow")
        bench.answer(case.case_id, MAGPIE, second)
    (disputed,) = bench.all("adjudication")
    bench.answer(disputed.case_id, OWL, "block")
    figures = counted(store)
    assert figures.agreement() == (1, 2)
    assert figures.agreement_by("reviewer") == {"heron": (1, 2), "magpie": (1, 2)}
    assert figures.agreement_by("language") == {"en": (1, 2)}


def test_golden_answers_measure_their_reviewer_and_nothing_else(store: ReviewStore) -> None:
    bench = Bench(store, golden_share=1)
    case_id = decide(bench, "a", "allow")
    with store.writing() as connection:
        assert bench.decisions.make_golden(connection, case_id, OWL)
    assert bench.next(MAGPIE) == case_id
    bench.answer(case_id, MAGPIE, "block")
    figures = counted(store)
    assert figures.golden_by_reviewer() == {"magpie": (0, 1)}
    assert figures.overturned() == (0, 1)


def test_answers_are_told_by_the_hour_and_exposure_of_the_last_one(store: ReviewStore) -> None:
    bench = Bench(store)
    decide(bench, "a", "allow")
    decide(bench, "b", "block")
    now = counted(store)
    assert [count for _, count in now.per_hour()] == [0] * (HOURS - 1) + [2]
    assert now.exposed() == {"heron": (2, 1)}
    later = counted(store, 3 * HOUR_S)
    assert [count for _, count in later.per_hour()].index(2) == HOURS - 4
    assert later.exposed() == {}
    assert counted(store, WINDOW_S).overturned() == (0, 0)


def test_who_may_see_one_tenant_sees_its_figures_alone(store: ReviewStore) -> None:
    bench = Bench(store)
    decide(bench, "a", "block", tenant="one")
    decide(bench, "b", "allow", tenant="two")
    figures = counted(store)
    assert figures.of(()) is figures
    ours = figures.of(("one",))
    assert (ours.overturned(), sum(count for _, count in ours.per_hour())) == ((1, 1), 1)
    assert ours.exposed() == {"heron": (1, 1)}
    assert figures.of(("three",)).overturned() == (0, 0)


def test_queues_say_how_many_wait_and_since_when(store: ReviewStore) -> None:
    bench = Bench(store)
    texts = [post("a", language="en"), post("b", language="en"), post("c", language="zh")]
    bench.take(*texts, *map(judged, texts))
    oldest = min(case.opened_at for case in bench.all() if case.language == "en")
    with store.reading() as connection:
        queues = count_queues(connection).queues
    assert [(one.language, one.size) for one in queues] == [("en", 2), ("zh", 1)]
    assert queues[0].opened_at == oldest


def test_a_page_gets_the_last_count_at_once(store: ReviewStore) -> None:
    bench, figures = Bench(store), QueueFigures(store)
    decide(bench, "a", "block")
    assert figures.decided().overturned() == (1, 1)
    assert figures.current().open("open") == 0
    assert figures.decided() is figures.decided()
