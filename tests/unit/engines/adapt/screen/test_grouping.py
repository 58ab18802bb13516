"""Bounds: a table falls, says what the rows say, and keeps its word."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.screen.grouping import LEAST_ROWS, MOST_ERROR, steps, upper_bound
from sluicegate.engines.screen.answering import error_of


@pytest.mark.parametrize(("wrong", "rows"), [(0, 1), (0, 30), (0, 300), (1, 10), (9, 10), (50, 1000)])
def test_at_the_bound_so_few_wrong_have_a_chance_of_one_in_twenty(wrong: int, rows: int) -> None:
    bound = upper_bound(wrong, rows)
    chance = sum(math.comb(rows, one) * bound**one * (1 - bound) ** (rows - one) for one in range(wrong + 1))
    assert chance == pytest.approx(0.05)


def test_of_all_wrong_the_bound_is_all() -> None:
    assert upper_bound(10, 10) == 1.0


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.5, 0.9, 0.95, 0.999999999, 1.0]) | st.floats(0, 1), st.booleans()),
        max_size=200,
    )
)
def test_a_table_falls_and_each_step_is_the_bound_of_its_rows(rows: list[tuple[float, bool]]) -> None:
    scores, wrong = np.array([one for one, _ in rows]), np.array([one for _, one in rows], dtype=bool)
    table = steps(scores, wrong)
    for (before, more), (after, less) in pairwise(table):
        assert before < after
        assert more > less
    for bar, error in table:
        reached = scores >= bar
        assert reached.sum() >= LEAST_ROWS
        assert error == upper_bound(int(wrong[reached].sum()), int(reached.sum()))
        assert error <= MOST_ERROR


def test_surer_rows_make_lower_steps_and_few_rows_none() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(5000)
    table = steps(scores, rng.random(5000) > scores)
    assert len(table) > 4
    assert table[0][1] > 3 * table[-1][1]
    assert steps(scores[: LEAST_ROWS - 1], np.zeros(LEAST_ROWS - 1, dtype=bool)) == ()
    assert steps(scores, np.ones(5000, dtype=bool)) == ()


def test_the_share_wrong_in_service_is_mostly_within_the_bound() -> None:
    """Rows of service, drawn like those of the table: of 100 tables, a step at 10 % holds for nearly all."""
    kept = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores = rng.random(400)
        table = steps(scores, rng.random(400) > scores)
        asked = [bar for bar, error in table if error <= 0.1]
        # Above a bar, a share of (1 - bar) / 2 is wrong.
        kept += not asked or (1 - asked[0]) / 2 <= 0.1
        assert not asked or error_of(table, asked[0]) == dict(table)[asked[0]]
    assert kept >= 88  # each of several steps is within with 95 %
