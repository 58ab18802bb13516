"""When a screen is wrong too often: the bound against the binomial itself, and how seldom it errs."""

from __future__ import annotations

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shortcuts.switch import DisagreementTally, exceeds


def chance(wrong: int, samples: int, share: float) -> float:
    """How likely so many wrong ones or more are, summed plainly."""
    return sum(
        comb(samples, number) * share**number * (1 - share) ** (samples - number)
        for number in range(wrong, samples + 1)
    )


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.001, 0.01, 0.05, 0.1]))
def test_it_exceeds_where_so_many_would_be_a_rare_chance(samples: int, wrong: int, tolerance: float) -> None:
    wrong = min(wrong, samples)
    found = exceeds(wrong, samples, tolerance=tolerance, confidence=0.99)
    if wrong <= tolerance * samples:
        assert not found
    else:
        rare = 0.01 / (wrong * (wrong + 1))
        likely = chance(wrong, samples, tolerance)
        assert found == (likely < rare) or abs(likely / rare - 1) < 1e-6


def test_where_nothing_is_tolerated_one_is_too_many() -> None:
    assert not exceeds(0, 1_000_000, tolerance=0, confidence=0.999)
    assert exceeds(1, 1_000_000, tolerance=0, confidence=0.999)


def run(share: float, samples: int, chances: random.Random) -> int | None:
    """After how many samples it is said to exceed 1 %."""
    tally = DisagreementTally(samples)
    for number in range(1, samples + 1):
        tally.add(wrong=chances.random() < share)
        if exceeds(tally.wrong, tally.samples, tolerance=0.01, confidence=0.99):
            return number
    return None


def test_a_screen_that_is_in_order_stays_on_though_it_is_looked_at_after_every_sample() -> None:
    chances = random.Random(1)
    thrown = sum(run(0.01, 2_000, chances) is not None for _ in range(200))
    assert thrown <= 6  # of 200, at 99 %: two expected at most


def test_one_that_is_wrong_far_too_often_is_soon_found() -> None:
    chances = random.Random(2)
    found = [run(0.1, 2_000, chances) for _ in range(50)]
    assert all(number is not None and number < 500 for number in found)


def test_a_good_past_hides_no_bad_present() -> None:
    tally = DisagreementTally(1_000)
    for _ in range(1_000):
        tally.add(wrong=False)
    tally.add(wrong=True)
    assert (tally.samples, tally.wrong) == (1, 1)


@pytest.mark.parametrize("samples", [10_000, 1_000_000])
def test_large_counts_are_no_trouble(samples: int) -> None:
    assert not exceeds(samples // 10 + 1, samples, tolerance=0.1, confidence=0.999)
    assert exceeds(samples // 5, samples, tolerance=0.1, confidence=0.999)
