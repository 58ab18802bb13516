"""Verdicts of two cohorts, joined in any order: each content has one outcome, in bounded time and room."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.comparison import Cohort, Comparison, Judges, Outcome, Pairs, Seat
from sluicegate.pipeline.shadow.comparison import side as side_of
from sluicegate.schemas import Verdict
from support.events import verdicts
from unit.pipeline.shadow.sides import CANDIDATE, CANDIDATES, INCUMBENT, INCUMBENTS, compared, seat, side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.pipeline.shadow.comparison import Side


class Joined(Pairs):
    """Pairs whose verdicts say by their engine which topic they come from."""

    def hear(self, verdict: Side, now: float) -> list[Comparison]:
        return self.take(seat(verdict), verdict, now)


ACTIONS = ("allow", "review", "block")


def pairs(**fields: Any) -> Joined:
    return Joined(INCUMBENTS, CANDIDATES, **fields)


def outcomes(found: Iterable[Comparison]) -> Counter[Outcome]:
    return Counter(one.outcome for one in found)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "outcome"),
    [
        ("allow", "allow", Outcome.AGREE),
        ("review", "review", Outcome.AGREE),
        ("allow", "review", Outcome.STRICTER),
        ("allow", "block", Outcome.STRICTER),
        ("review", "block", Outcome.STRICTER),
        ("review", "allow", Outcome.PERMISSIVE),
        ("block", "review", Outcome.PERMISSIVE),
        ("block", "allow", Outcome.PERMISSIVE),
    ],
)
def test_two_verdicts_compare_by_direction(incumbent: str, candidate: str, outcome: Outcome) -> None:
    found = compared(incumbent, candidate)
    assert found.outcome is outcome
    assert found.outcome.is_compared
    assert found.milder is (outcome is Outcome.PERMISSIVE)


@pytest.mark.parametrize(
    ("failed", "outcome"),
    [
        ((True, False), Outcome.INCUMBENT_FAILED),
        ((False, True), Outcome.CANDIDATE_FAILED),
        ((True, True), Outcome.BOTH_FAILED),
    ],
)
def test_a_failure_is_an_outcome_of_its_own(failed: tuple[bool, bool], outcome: Outcome) -> None:
    found = Comparison(side(INCUMBENT, failed=failed[0]), side(CANDIDATE, failed=failed[1]))
    assert found.outcome is outcome
    assert not found.outcome.is_compared


def test_a_failure_that_allows_what_the_incumbent_blocks_is_milder() -> None:
    assert Comparison(side(action="block"), side(CANDIDATE, action="allow", failed=True)).milder
    assert not Comparison(side(action="block", failed=True), side(CANDIDATE, action="allow")).milder


def test_a_side_that_is_missing_is_no_agreement() -> None:
    assert Comparison(side(), None).outcome is Outcome.CANDIDATE_MISSING
    assert Comparison(None, side(CANDIDATE)).outcome is Outcome.INCUMBENT_MISSING
    assert not Comparison(side(action="block"), None).milder
    with pytest.raises(ValueError, match="give one"):
        _ = Comparison(None, None).known


@given(verdicts)
def test_a_verdict_gives_all_that_a_comparison_needs(verdict: Verdict) -> None:
    found = side_of(verdict)
    assert found.content == (verdict.tenant, verdict.post_id, verdict.revision, verdict.content_hash)
    assert found.cohort == (verdict.engine.digest, verdict.engine.adapter, verdict.policy.digest)
    assert found.failed is (verdict.failure is not None)
    assert found.root == (verdict.reused_from or verdict.verdict_id)
    assert found.action is (verdict.action if verdict.breaker is None else verdict.breaker.action)


def test_a_block_that_a_breaker_withheld_is_compared_as_a_block() -> None:
    digest = f"sha256:{'0' * 64}"
    withheld = Verdict.model_validate_json(
        json.dumps(
            {
                "verdict_id": "v",
                "post_id": "p",
                "revision": 0,
                "tenant": "acme",
                "kind": "post",
                "content_hash": digest,
                "action": "review",
                "disposition": "queue",
                "severity": "unsafe",
                "scores": {"safe": 0.0, "controversial": 0.0, "unsafe": 1.0},
                "assessed_by": "engine",
                "breaker": {"action": "block", "disposition": "x", "open_since": "2026-01-01T00:00:00Z"},
                "policy": {"name": "p", "version": "1", "digest": digest, "rule": "r"},
                "engine": {"digest": digest, "backend": "fake", "model": "f", "layout_digest": digest},
                "timings": {"queued_ms": 0, "engine_ms": 0, "total_ms": 0},
                "judged_at": "2026-01-01T00:00:00Z",
            }
        )
    )
    assert Comparison(side_of(withheld), side(CANDIDATE, action="review")).outcome is Outcome.PERMISSIVE


def test_a_pair_is_compared_when_its_second_side_comes() -> None:
    joined = pairs()
    assert joined.hear(side(action="block"), 0) == []
    (found,) = joined.hear(side(CANDIDATE, action="review"), 5)
    assert found.outcome is Outcome.PERMISSIVE
    assert joined.drain() == joined.advance(10**6) == []


@pytest.mark.parametrize("field", ["tenant", "text", "post"])
def test_verdicts_on_different_contents_are_not_joined(field: str) -> None:
    joined = pairs()
    joined.hear(side(), 0)
    assert joined.hear(side(CANDIDATE, **{field: "other"}), 0) == []
    assert outcomes(joined.drain()) == {Outcome.CANDIDATE_MISSING: 1, Outcome.INCUMBENT_MISSING: 1}


def test_a_side_that_does_not_come_is_missing_after_the_wait_and_not_before() -> None:
    joined = pairs(wait_s=60)
    joined.hear(side(), 100)
    assert joined.advance(159.9) == []
    assert outcomes(joined.advance(160)) == {Outcome.CANDIDATE_MISSING: 1}
    assert joined.hear(side(CANDIDATE, at=100), 161) == []
    assert (joined.late, joined.repeats) == (1, 0)
    assert joined.drain() == []


def test_a_clock_that_goes_back_changes_nothing() -> None:
    joined = pairs(wait_s=60)
    joined.advance(100)
    joined.hear(side(), 0)
    assert joined.advance(159) == []
    assert outcomes(joined.advance(160)) == {Outcome.CANDIDATE_MISSING: 1}


def test_a_counterpart_that_was_judged_long_ago_is_joined_as_long_as_the_other_waits() -> None:
    joined = pairs(wait_s=900, remember_s=20)
    for cohort in (INCUMBENT, CANDIDATE):
        joined.hear(side(cohort, "done", at=50), 50)
    joined.hear(side(post="waits", at=60), 60)
    joined.advance(71)
    (found,) = joined.hear(side(CANDIDATE, "waits", at=10), 71)
    assert found.outcome is Outcome.AGREE


def test_a_repeat_does_not_join_a_counterpart_that_came_after_its_content_was_forgotten() -> None:
    joined = pairs(wait_s=10, remember_s=10)
    joined.hear(side(at=5), 5)
    assert outcomes(joined.advance(100)) == {Outcome.CANDIDATE_MISSING: 1}
    joined.advance(200)
    assert joined.hear(side(CANDIDATE, at=190), 200) == []
    assert joined.hear(side(at=5), 201) == []
    assert joined.late == 1
    assert outcomes(joined.drain()) == {Outcome.INCUMBENT_MISSING: 1}


def test_a_repeat_that_was_judged_again_later_is_not_compared_again_once_its_content_is_forgotten() -> None:
    joined = pairs(remember_s=100)
    for cohort in (INCUMBENT, CANDIDATE):
        joined.hear(side(cohort, at=0), 0)
    again = side(at=50)
    joined.hear(again, 50)
    assert joined.hear(again, 150) == joined.drain() == []
    assert (joined.repeats, joined.late) == (1, 1)


def test_verdicts_of_others_are_counted_and_compared_with_nothing() -> None:
    joined = pairs()
    reloaded = INCUMBENT._replace(policy="sha256:" + "b" * 64)
    joined.take(Seat.INCUMBENT, side(reloaded), 0)
    joined.take(Seat.INCUMBENT, side(CANDIDATE), 0)
    joined.take(Seat.CANDIDATE, side(CANDIDATE), 0)
    for number in range(500):
        joined.take(Seat.CANDIDATE, side(CANDIDATE._replace(engine=f"sha256:{number:064}")), 0)
    assert joined.foreign[reloaded] == joined.foreign[CANDIDATE] == 1
    assert len(joined.foreign) == 64
    assert outcomes(joined.drain()) == {Outcome.INCUMBENT_MISSING: 1}


def test_a_side_may_have_several_engines_and_both_may_have_one() -> None:
    screen = "sha256:" + "5" * 64
    joined = Pairs(
        Judges(INCUMBENTS.engines | {screen}, INCUMBENTS.policy),
        Judges(CANDIDATES.engines | {screen}, CANDIDATES.policy),
    )
    screened = side(Cohort(screen, None, INCUMBENT.policy))
    joined.take(Seat.INCUMBENT, screened, 0)
    (found,) = joined.take(Seat.CANDIDATE, screened, 0)
    assert (found.outcome, found.incumbent) == (Outcome.AGREE, found.candidate)


def test_of_two_verdicts_of_one_side_the_newest_counts() -> None:
    joined = pairs()
    for verdict in (side(action="block", at=5), side(action="allow", at=4), side(action="block", at=5)):
        joined.hear(verdict, 5)
    (found,) = joined.hear(side(CANDIDATE, action="block", at=6), 6)
    assert found.outcome is Outcome.AGREE
    assert joined.repeats == 2


def test_a_content_that_waits_for_its_other_verdict_was_not_compared() -> None:
    joined = pairs()
    for number in range(4):
        joined.hear(side(post=f"p{number}"), 0)
    joined.hear(side(CANDIDATE, post="p0"), 0)
    assert (joined.waiting, joined.unjoined) == (3, 3)


def test_a_verdict_from_the_future_is_counted_and_orders_nothing() -> None:
    joined = pairs()
    joined.hear(side(at=1_000), 0)
    assert (joined.ahead, len(joined)) == (1, 0)


@pytest.mark.parametrize("fields", [{"wait_s": 0}, {"remember_s": float("nan")}, {"most": 0}])
def test_no_time_and_no_room_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="leave them out"):
        pairs(**fields)


def test_a_candidate_that_is_the_incumbent_is_refused() -> None:
    with pytest.raises(ValueError, match="give two that differ"):
        Pairs(INCUMBENTS, INCUMBENTS)


@st.composite
def streams(draw: st.DrawFn) -> list[Side]:
    """Verdicts on some posts by both, one or none, some twice, in any order; all at one moment."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        for cohort in (INCUMBENT, CANDIDATE):
            made = side(cohort, f"post {number}", draw(st.sampled_from(ACTIONS)), failed=draw(st.booleans()))
            found += [made] * draw(st.sampled_from((0, 1, 1, 1, 2)))
    return draw(st.permutations(found))


@given(streams())
def test_the_order_of_verdicts_changes_nothing(stream: list[Side]) -> None:
    joined, found = pairs(), []
    for verdict in stream:
        found += joined.hear(verdict, 1)
    found += joined.drain()
    by_cohort: dict[Cohort, dict[Any, Side]] = {INCUMBENT: {}, CANDIDATE: {}}
    for verdict in stream:
        by_cohort[verdict.cohort][verdict.content] = verdict
    expected = {
        Comparison(by_cohort[INCUMBENT].get(content), by_cohort[CANDIDATE].get(content))
        for content in by_cohort[INCUMBENT].keys() | by_cohort[CANDIDATE].keys()
    }
    assert set(found) == expected
    assert len(found) == len(expected)
    assert joined.repeats == len(stream) - len(set(stream))


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.floats(0, 40), st.floats(0, 60)), max_size=120),
    st.integers(1, 6),
)
def test_no_content_is_compared_twice_and_no_verdict_is_lost(
    deliveries: list[tuple[int, bool, float, float]], most: int
) -> None:
    """Few posts, judged at some moment, delivered late and often, with little room and a short memory."""
    joined, found, now = pairs(wait_s=10, remember_s=15, most=most), [], 0.0
    judged: dict[tuple[int, bool], float] = {}
    for number, is_candidate, passes, ago in deliveries:
        now += passes
        at = judged.setdefault((number, is_candidate), now - ago)
        cohort = CANDIDATE if is_candidate else INCUMBENT
        found += joined.hear(side(cohort, f"post {number}", at=at), now)
        assert len(joined) <= 2 * most
    found += joined.drain()
    sides = sum((one.incumbent is not None) + (one.candidate is not None) for one in found)
    assert sides + joined.repeats + joined.late == len(deliveries)
    compared_sides = Counter(one for pair in found for one in (pair.incumbent, pair.candidate) if one)
    assert max(compared_sides.values(), default=1) == 1
    assert len(joined) <= 2 * most


def test_memory_is_bounded_however_many_verdicts_come() -> None:
    rng, peaks = random.Random(1), []
    for verdicts_taken in (10_000, 40_000):
        joined, found = pairs(most=500), Counter[Outcome]()
        tracemalloc.start()
        for number in range(verdicts_taken):
            post = f"post {max(0, number - rng.randrange(400))}"
            cohort = rng.choice((INCUMBENT, CANDIDATE))
            found += outcomes(joined.hear(side(cohort, post, at=number / 100), number / 100))
            assert len(joined) <= 1_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found[Outcome.AGREE] > 0
        assert joined.crowded_out > 0
    assert peaks[1] < 1.2 * peaks[0]


def test_a_content_that_was_forgotten_for_want_of_room_is_not_compared_again() -> None:
    joined = pairs(most=2)
    stream = [side(cohort, f"post {n}", at=float(n)) for n in range(10) for cohort in (INCUMBENT, CANDIDATE)]
    found = [one for verdict in stream for one in joined.hear(verdict, 10)]
    again = [one for verdict in stream for one in joined.hear(replace(verdict), 11)]
    assert (len(found), again, joined.drain()) == (10, [], [])
    assert joined.late + joined.repeats == len(stream)
