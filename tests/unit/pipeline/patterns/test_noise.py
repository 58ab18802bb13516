"""Noise: the distribution that it claims, and no more given away than that."""

from __future__ import annotations

import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.patterns.noise import discrete_laplace, noisy


def test_it_is_discrete_laplace() -> None:
    chance, draws = random.Random(5), 40_000
    counts = Counter(discrete_laplace(chance) for _ in range(draws))
    weight = (math.e - 1) / (math.e + 1)  # of zero; each step away has 1/e of that before
    for value in range(-4, 5):
        expected = weight * math.exp(-abs(value))
        spread = math.sqrt(expected * (1 - expected) / draws)
        assert abs(counts[value] / draws - expected) < 5 * spread


def test_a_higher_epsilon_makes_less_noise() -> None:
    def spread(epsilon: int) -> int:
        chance = random.Random(5)
        return sum(abs(discrete_laplace(chance, epsilon=epsilon)) for _ in range(3_000))

    assert spread(1) > spread(2) > spread(4)


@given(st.integers(5, 10_000), st.integers(0, 2**32))
def test_a_count_never_falls_below_what_is_known_of_every_pattern(count: int, seed: int) -> None:
    assert noisy(count, random.Random(seed), least=5) >= 5


def test_two_counts_that_differ_by_one_author_are_told_apart_by_a_factor_of_e_at_most() -> None:
    draws = 40_000
    one, other = (
        Counter(noisy(count, random.Random(seed), least=1) for seed in range(draws)) for count in (20, 21)
    )
    for value in range(16, 26):
        assert one[value] / other[value] < math.e * 1.2
        assert other[value] / one[value] < math.e * 1.2
