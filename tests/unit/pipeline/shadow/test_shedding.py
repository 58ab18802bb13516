"""What a shadow sheds: quickly out of a backlog, slowly back, and never more than its share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.shedding import BEHIND_S, USELESS_S, LoadShedding


@given(st.floats(0.001, 1), st.lists(st.floats(0, 2 * USELESS_S), max_size=60))
def test_what_is_judged_is_a_part_of_the_share_whatever_the_lag_does(share: float, lags: list[float]) -> None:
    shedding = LoadShedding(share)
    for lag_s in lags:
        before = shedding.current
        shedding.look(lag_s)
        assert 0 <= shedding.current <= share
        assert (shedding.current < before) == (lag_s > BEHIND_S and before > 0)


@given(st.floats(0.001, 1), st.lists(st.floats(0, 2 * USELESS_S), max_size=60))
def test_a_shadow_that_has_caught_up_judges_all_of_its_share_within_minutes(
    share: float, lags: list[float]
) -> None:
    shedding = LoadShedding(share)
    for lag_s in lags:
        shedding.look(lag_s)
    for _ in range(20):
        shedding.look(0)
    assert shedding.current == share


@pytest.mark.parametrize(
    ("lag_s", "current"), [(USELESS_S + 1, 0), (BEHIND_S + 1, 0.2), (BEHIND_S, 0.4), (0, 0.4)]
)
def test_what_one_look_does(lag_s: float, current: float) -> None:
    shedding = LoadShedding(0.4)
    shedding.look(lag_s)
    assert shedding.current == current
