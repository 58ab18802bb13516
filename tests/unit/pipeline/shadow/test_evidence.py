"""What counts show: against brute force, exact expectations, and other ways to compute the same."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, exp, inf, log, prod
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow import evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    OnAShare: TypeAlias = Callable[[int, int, float], float]

COUNTS = st.integers(0, 2_000)
SHARES = st.floats(0.001, 0.999)
LEVELS = st.floats(0.001, 0.5)


@pytest.mark.parametrize(
    ("log_e", "ratios"),
    [(evidence.log_e_below, evidence.BELOW), (evidence.log_e_above, evidence.ABOVE)],
)
def test_evidence_on_a_share_is_what_bets_on_each_post_make(
    log_e: OnAShare, ratios: tuple[float, ...]
) -> None:
    limit = Fraction(1, 8)
    for values in product((0, 1), repeat=7):
        wealth = Fraction(0)
        for ratio in map(Fraction, ratios):
            bet_on = ratio * limit / (1 - limit + ratio * limit)
            stake = (bet_on - limit) / (limit * (1 - limit))
            factors = (1 + stake * (value - limit) for value in values)
            wealth += prod(factors, start=Fraction(1)) / len(ratios)
        assert exp(log_e(sum(values), 7, 1 / 8)) == pytest.approx(float(wealth), rel=1e-9)


@pytest.mark.parametrize("limit", [0.005, 0.3, 0.9])
@pytest.mark.parametrize("log_e", [evidence.log_e_below, evidence.log_e_above])
def test_evidence_on_a_share_is_1_in_the_mean_at_the_limit(log_e: OnAShare, limit: float) -> None:
    posts = 60
    mean = sum(
        comb(posts, hits) * limit**hits * (1 - limit) ** (posts - hits) * exp(log_e(hits, posts, limit))
        for hits in range(posts + 1)
    )
    assert mean == pytest.approx(1, rel=1e-9)


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.integers(1, 50))
def test_evidence_for_a_false_claim_is_at_most_1_in_the_mean(limit: float, worse: float, posts: int) -> None:
    share = limit + worse * (1 - limit)
    mean = sum(
        comb(posts, hits)
        * share**hits
        * (1 - share) ** (posts - hits)
        * exp(evidence.log_e_below(hits, posts, limit))
        for hits in range(posts + 1)
    )
    assert mean <= 1 + 1e-9


def test_evidence_against_one_half_is_what_all_shares_make() -> None:
    for wins, losses in product(range(8), repeat=2):
        steps = 4_000
        integral = sum(
            (2 * share) ** wins * (2 - 2 * share) ** losses
            for share in ((step + 0.5) / steps for step in range(steps))
        )
        assert exp(evidence.log_e_uneven(wins, losses)) == pytest.approx(integral / steps, rel=1e-4)


def test_evidence_against_one_half_is_1_in_the_mean_for_a_fair_coin() -> None:
    mean = sum(comb(40, wins) / 2**40 * exp(evidence.log_e_uneven(wins, 40 - wins)) for wins in range(41))
    assert mean == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("up", "down"), [(0.1, 0.1), (0.3, 0.05), (0.02, 0.4), (0.5, 0.5)])
def test_evidence_on_a_difference_is_1_in_the_mean_at_the_truth(up: float, down: float) -> None:
    pairs, same = 12, 1 - up - down
    mean = sum(
        comb(pairs, ups)
        * comb(pairs - ups, downs)
        * up**ups
        * down**downs
        * same ** (pairs - ups - downs)
        * exp(evidence.log_e_more(ups, pairs - ups - downs, downs, up - down))
        for ups in range(pairs + 1)
        for downs in range(pairs + 1 - ups)
    )
    assert mean == pytest.approx(1, rel=1e-9)


def test_evidence_on_a_difference_is_what_bets_on_each_pair_make() -> None:
    than = 0.125
    for values in product((-1, 0, 1), repeat=5):
        moved = (than + 1) / 2
        wealth = sum(
            prod(1 - stake + stake * (value + 1) / 2 / moved for value in values) for stake in evidence.STAKES
        ) / len(evidence.STAKES)
        counts = values.count(1), values.count(0), values.count(-1)
        assert exp(evidence.log_e_more(*counts, than)) == pytest.approx(wealth, rel=1e-9)


@given(COUNTS, st.floats(0.001, 0.2), LEVELS)
def test_a_certificate_comes_with_the_posts_that_it_needs_and_not_before(
    hits: int, limit: float, alpha: float
) -> None:
    posts = evidence.posts_needed(hits, limit, alpha)
    assert evidence.log_e_below(hits, posts, limit) >= log(1 / alpha)
    assert posts == max(hits, 1) or evidence.log_e_below(hits, posts - 1, limit) < log(1 / alpha)


@given(COUNTS, COUNTS, SHARES)
def test_a_post_without_a_hit_speaks_for_a_low_share_and_a_hit_against_it(
    hits: int, others: int, limit: float
) -> None:
    now = evidence.log_e_below(hits, hits + others, limit)
    assert evidence.log_e_below(hits, hits + others + 1, limit) >= now
    assert evidence.log_e_below(hits + 1, hits + others + 1, limit) <= now


@given(COUNTS, COUNTS, LEVELS)
def test_bounds_of_a_share_stand_around_what_was_counted(hits: int, others: int, alpha: float) -> None:
    lower, upper = evidence.share_bounds(hits, hits + others, alpha)
    assert 0 <= lower <= upper <= 1
    if hits + others:
        assert lower <= hits / (hits + others) <= upper


def test_bounds_of_a_share_say_what_a_certificate_says() -> None:
    posts = evidence.posts_needed(2, 0.005, 0.025)
    assert evidence.share_bounds(2, posts, 0.05)[1] <= 0.005 + 1e-9
    assert evidence.share_bounds(2, posts - 1, 0.05)[1] > 0.005


@pytest.mark.parametrize("many", [10**6, 10**9])
def test_bounds_of_a_share_hold_for_great_counts(many: int) -> None:
    lower, upper = evidence.share_bounds(many // 1_000, many, 0.05)
    assert 0.0005 < lower < 0.001 < upper < 0.002


def test_nothing_is_known_of_no_posts() -> None:
    assert evidence.share_bounds(0, 0, 0.05) == (0, 1)
    assert evidence.difference_bounds(0, 0, 0, 0.05) == pytest.approx((-1, 1))
    assert evidence.preferred(0, 0, 0.05) is None
    assert evidence.log_e_below(0, 0, 0.1) == evidence.log_e_uneven(0, 0) == 0
    assert evidence.e_bh({}, 0.05) == frozenset()


@given(COUNTS, COUNTS, COUNTS, LEVELS)
def test_bounds_of_a_difference_stand_around_what_was_counted(
    up: int, same: int, down: int, alpha: float
) -> None:
    lower, upper = evidence.difference_bounds(up, same, down, alpha)
    assert -1 <= lower <= upper <= 1
    if up + same + down:
        mean = (up - down) / (up + same + down)
        assert lower - 1e-9 <= mean <= upper + 1e-9


@given(COUNTS, COUNTS, COUNTS, LEVELS)
def test_bounds_of_a_difference_turn_with_the_sides(up: int, same: int, down: int, alpha: float) -> None:
    lower, upper = evidence.difference_bounds(up, same, down, alpha)
    assert evidence.difference_bounds(down, same, up, alpha) == pytest.approx((-upper, -lower))


def test_bounds_of_a_difference_grow_narrow() -> None:
    widths = [
        upper - lower
        for lower, upper in (
            evidence.difference_bounds(posts // 100, posts - posts // 50, posts // 100, 0.05)
            for posts in (1_000, 10_000, 100_000, 1_000_000)
        )
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[1] < 0.02
    assert widths[3] < 0.002


@given(COUNTS, COUNTS)
def test_the_side_that_is_preferred_won_more_often(wins: int, losses: int) -> None:
    better = evidence.preferred(wins, losses, 0.05)
    assert better is None or better is (wins > losses)
    turned = evidence.preferred(losses, wins, 0.05)
    assert turned is (None if better is None else not better)


@given(
    st.dictionaries(st.text(max_size=3), st.floats(-5, 12), max_size=12),
    LEVELS,
)
def test_e_bh_shows_the_most_strata_that_its_rule_allows(log_es: dict[str, float], alpha: float) -> None:
    shown = evidence.e_bh(log_es, alpha)
    best = 0
    for k in range(1, len(log_es) + 1):
        enough = [name for name in log_es if log_es[name] >= log(len(log_es) / alpha) - log(k)]
        best = k if len(enough) >= k else best
    assert len(shown) == best
    assert all(log_es[one] >= log_es[other] for one in shown for other in log_es.keys() - shown)


@pytest.mark.parametrize(
    "asked",
    [
        lambda: evidence.log_e_below(-1, 5, 0.1),
        lambda: evidence.log_e_below(6, 5, 0.1),
        lambda: evidence.log_e_above(1, 5, 0.0),
        lambda: evidence.log_e_above(1, 5, 1.0),
        lambda: evidence.log_e_below(1, 5, float("nan")),
        lambda: evidence.log_e_uneven(-1, 1),
        lambda: evidence.log_e_more(1, -1, 1, 0.0),
        lambda: evidence.log_e_more(1, 1, 1, -1.0),
        lambda: evidence.log_e_more(1, 1, 1, float("nan")),
        lambda: evidence.share_bounds(2, 1, 0.05),
        lambda: evidence.share_bounds(1, 2, 0.0),
        lambda: evidence.difference_bounds(1, 1, 1, 1.0),
        lambda: evidence.difference_bounds(1, -1, 1, 0.05),
        lambda: evidence.posts_needed(1, 0.005, 0.0),
        lambda: evidence.posts_needed(-1, 0.005, 0.05),
        lambda: evidence.preferred(1, 1, float("nan")),
        lambda: evidence.e_bh({"de": 1.0}, 0.0),
    ],
)
def test_what_is_impossible_is_refused(asked: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"give|is a probability|one post in"):
        asked()


def test_one_hit_ends_the_bet_that_there_are_none() -> None:
    assert evidence.log_e_below(1, 10**6, 0.5) < inf
    assert evidence.log_e_below(500_000, 10**6, 0.5) < 0
