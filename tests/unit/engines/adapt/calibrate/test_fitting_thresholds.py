"""Thresholds: as many false positives as were allowed, and not a row more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.calibrate.fitting import Aims, bar, thresholds_of
from sluicegate.engines.adapt.evaluate.measures import MeasuredRows
from support.scored import drawn, scored


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=60),
    st.sampled_from([0.02, 0.05, 0.1, 0.25, 0.5]),
)
def test_a_bar_keeps_its_share_and_no_lower_one_does(rows: list[tuple[int, bool]], rate: float) -> None:
    scores = np.array([value / 30 for value, _ in rows])
    positive = np.array([hit for _, hit in rows])
    value = bar(scores, positive, rate)
    negatives = scores[~positive]
    if value is None:
        allowed = int(rate * len(negatives) + 1e-9)
        assert not 0 < allowed < len(negatives) or scores.max() == np.sort(negatives)[::-1][allowed]
        return
    assert (negatives >= value).mean() <= rate + 1e-9
    lower = scores[scores < value]
    assert not len(lower) or (negatives >= lower.max()).mean() > rate


def test_one_in_a_hundred_takes_a_hundred_benign_rows() -> None:
    benign = [scored(f"s{at}", "safe", (1 - at / 1000, 0.0, at / 1000)) for at in range(99)]
    harmful = [scored(f"u{at}", "unsafe", (0.5, 0.0, 0.5)) for at in range(5)]
    aims = Aims((0.01,))
    assert thresholds_of(MeasuredRows.of(benign + harmful), aims) == {}
    more = [*benign, scored("s99", "safe", (0.9005, 0.0, 0.0995))]
    found = thresholds_of(MeasuredRows.of(more + harmful), aims)
    assert found.keys() == {"risk_fpr_1", "unsafe_fpr_1"}
    assert found["risk_fpr_1"].value == pytest.approx((0.098 + 0.0995) / 2, abs=1e-6)
    assert (found["risk_fpr_1"].false_positive_rate, found["risk_fpr_1"].recall) == (0.01, 1.0)


def test_a_cost_is_a_probability_and_the_label_depends_on_the_measure() -> None:
    rows = drawn(600, seed=1)
    found = thresholds_of(MeasuredRows.of(rows), Aims((), (5, 0.25)))
    assert list(found) == Aims((), (5, 0.25)).names()
    assert list(found) == ["risk_cost_5", "risk_cost_0_25", "unsafe_cost_5", "unsafe_cost_0_25"]
    assert (found["risk_cost_5"].value, found["unsafe_cost_0_25"].value) == (0.833333, 0.2)
    reached = [row.severity for row in rows if (row.probabilities or (0, 0, 0))[2] >= 0.2]
    below = sum(row.severity != "unsafe" for row in rows)
    assert found["unsafe_cost_0_25"].false_positive_rate == pytest.approx(
        sum(one != "unsafe" for one in reached) / below
    )


def test_a_cost_is_where_the_cost_is_least_on_calibrated_scores() -> None:
    judged = MeasuredRows.of(drawn(4000, seed=2))
    scores, harmful = judged.risk, judged.labels > 0

    def paid(value: float) -> float:
        return float(3 * (scores[~harmful] >= value).sum() + (scores[harmful] < value).sum())

    best = min(paid(value) for value in np.linspace(0, 1, 201))
    assert paid(thresholds_of(judged, Aims((), (3,)))["risk_cost_3"].value) <= best * 1.05


def test_rows_of_one_side_tell_no_threshold() -> None:
    rows = [scored(f"r{at}", "controversial", (0.2, 0.7, 0.1)) for at in range(300)]
    assert thresholds_of(MeasuredRows.of(rows), Aims((0.01,), (1,))) == {}
