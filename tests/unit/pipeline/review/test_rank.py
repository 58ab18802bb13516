"""The order of cases: one number that never changes, and says the same as the terms that people see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.review.rank import RankTerms, chance, is_close, is_new, reach_of, terms
from support.cases import judged, post

HALF_LIFE_S = 6 * 3600.0
shares = st.floats(0.05, 1)
weighed = st.builds(RankTerms, shares, shares, st.floats(1, 1e6), st.floats(1.7e9, 1.71e9))


@given(weighed, weighed, st.floats(1.7e9, 1.71e9))
def test_the_rank_orders_cases_as_their_product_does_at_every_moment(
    one: RankTerms, other: RankTerms, now: float
) -> None:
    def product(case: RankTerms) -> float:
        return case.harm * case.uncertainty * case.reach * case.urgency(now, HALF_LIFE_S)

    within = all(abs(now - case.due_at) < 50 * HALF_LIFE_S for case in (one, other))
    if within and one.rank(HALF_LIFE_S) < other.rank(HALF_LIFE_S):
        assert product(one) >= product(other) * (1 - 1e-6)


def test_urgency_doubles_with_every_half_life_that_passes() -> None:
    case = RankTerms(1, 1, 1, 1e9)
    assert [case.urgency(1e9 + hours * 3600, HALF_LIFE_S) for hours in (-6, 0, 6)] == [0.5, 1, 2]


def test_what_could_not_be_scored_is_as_uncertain_as_can_be() -> None:
    failed = judged(
        post(),
        failure={"code": "timed_out", "mode": "review"},
        scores=None,
        severity=None,
        assessed_by="none",
    )
    assert terms(failed, 1, 60)[:2] == (0.5, 1.0)
    sure = judged(post(), scores={"safe": 1.0, "controversial": 0, "unsafe": 0}, severity="safe")
    assert terms(sure, 1, 60)[:2] == (0.05, 0.05), "no term makes a case vanish"


@pytest.mark.parametrize(
    ("scores", "close"),
    [
        ((0.5, 0.4, 0.1), True),
        ((0.05, 0.45, 0.5), True),
        ((0.45, 0.1, 0.45), True),
        ((0.6, 0.3, 0.1), False),
        ((0.0, 0.0, 1.0), False),
    ],
)
def test_a_verdict_is_close_where_the_two_likeliest_severities_are(
    scores: tuple[float, float, float], close: bool
) -> None:
    names = ("safe", "controversial", "unsafe")
    found = dict(zip(names, scores, strict=True))
    assert is_close(judged(post(), scores=found, severity=max(names, key=found.__getitem__))) is close


@pytest.mark.parametrize(
    ("language", "new"),
    [("en", False), ("en-GB", False), ("EN", False), ("cy", True), ("enm", True), (None, False)],
)
def test_a_post_is_new_where_its_language_is_named_and_not_familiar(language: str | None, new: bool) -> None:
    assert is_new(judged(post(language=language)), ("en", "zh")) is new


def test_only_a_number_of_the_metadata_that_is_named_is_reach() -> None:
    text = post(metadata={"readers": 250, "name": "x", "on": True, "few": -3, "many": 1e300})
    assert reach_of(text, "readers") == 250
    assert [reach_of(text, name) for name in ("name", "on", "few", "absent", None)] == [1.0] * 5
    assert reach_of(text, "many") == 1e12


@given(st.text(), st.integers())
def test_chance_is_the_same_whenever_the_same_is_asked(name: str, number: int) -> None:
    assert 0 <= chance("a", name, number) < 1
    assert chance("a", name, number) == chance("a", name, number)


def test_chance_is_even() -> None:
    picked = sum(chance("audit", number) < 0.1 for number in range(20_000))
    assert 1_800 < picked < 2_200
