"""Agreement: published examples, and what intervals and skewed votes do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.labels.agreement import (
    Vote,
    ac1,
    ac1_interval,
    alpha,
    alpha_interval,
    counts_by_item,
)

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part C: four observers, twelve units, votes missing.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
PUBLISHED = counts_by_item(
    (
        Vote(str(unit), str(observer), int(value) - 1)
        for observer, line in enumerate(OBSERVERS)
        for unit, value in enumerate(line.split())
        if value != "."
    ),
    values=5,
)


def test_the_published_example_has_the_published_alpha() -> None:
    assert alpha(PUBLISHED) == pytest.approx(0.815, abs=5e-4)


def test_the_same_data_have_the_ac1_that_the_package_irrcac_prints() -> None:
    assert ac1(PUBLISHED) == pytest.approx(0.77544, abs=5e-6)


def test_skewed_votes_move_alpha_and_not_ac1() -> None:
    # 98 of 100 pairs agree, 95 of them on one value.
    counts = np.array([[2, 0, 0]] * 95 + [[0, 0, 2]] * 3 + [[1, 0, 1]] * 2, dtype=float)
    assert alpha(counts) < 0.76
    assert ac1(counts) > 0.97


def test_a_vote_far_away_disagrees_more_than_one_close_by() -> None:
    same = [[2, 0, 0]] * 10 + [[0, 2, 0]] * 10 + [[0, 0, 2]] * 10
    near = np.array([*same, *[[1, 1, 0]] * 4], dtype=float)
    far = np.array([*same, *[[1, 0, 1]] * 4], dtype=float)
    assert alpha(far) < alpha(near) < 1
    assert ac1(far) == pytest.approx(ac1(near), abs=0.02)  # it knows no order of values


def test_the_last_vote_of_a_person_counts() -> None:
    votes = [Vote("one", "a", 0), Vote("one", "b", 2), Vote("one", "a", 2)]
    assert counts_by_item(votes).tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.array([[1.0, 0, 0]])])
def test_nothing_to_compare_is_no_number(counts: np.ndarray) -> None:
    assert math.isnan(alpha(counts))
    assert math.isnan(ac1(counts))
    assert math.isnan(alpha_interval(counts).value)


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)

    def drawn(items: int) -> np.ndarray:
        true = random.choice(3, size=items, p=[0.6, 0.1, 0.3])
        votes = [np.where(random.random(items) < 0.1, random.choice(3, size=items), true) for _ in range(2)]
        return np.eye(3)[votes[0]] + np.eye(3)[votes[1]]

    truth = alpha(drawn(400_000))
    inside = sum(one.low <= truth <= one.high for one in (alpha_interval(drawn(150)) for _ in range(200)))
    assert 178 <= inside <= 199


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=12))
def test_agreement_is_one_at_most_and_order_plays_no_part(rows: list[list[int]]) -> None:
    counts = np.array(rows, dtype=float)
    for measure in (alpha, ac1):
        value = measure(counts)
        assert math.isnan(value) or value <= 1 + 1e-9
        assert np.isclose(value, measure(counts[::-1]), equal_nan=True)


def test_equal_seeds_give_equal_intervals() -> None:
    assert ac1_interval(PUBLISHED, seed=3) == ac1_interval(PUBLISHED, seed=3)
    assert alpha_interval(PUBLISHED, seed=3) != alpha_interval(PUBLISHED, seed=4)
