"""Fitting: what was done to scores is undone, and nothing is ever certain or out of order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from sluicegate.engines.adapt.calibrate.fitting import calibrated, fit_isotonic, fit_temperature, rejudged
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.bundle.calibration import Temperature
from support.scored import drawn, scored, weights_of


def measured(name: str, judged: MeasuredRows) -> float:
    return float(MEASURES[name](judged, np.ones((1, len(judged.labels))))[0])


def spread(judged: MeasuredRows, temperature: float) -> MeasuredRows:
    """The rows, surer than they may be."""
    return rejudged(judged, calibrated(Temperature(temperature=1 / temperature), judged.probabilities))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_finds_what_was_done_to_scores(temperature: float) -> None:
    right = MeasuredRows.of(drawn(2500, seed=3))
    assert fit_temperature(spread(right, temperature)).temperature == pytest.approx(temperature, rel=0.12)


def test_both_lower_the_loss_of_scores_that_are_too_sure() -> None:
    one, other = (spread(MeasuredRows.of(drawn(1500, seed=seed)), 4.0) for seed in (1, 2))
    for mapping in (fit_temperature(one), fit_isotonic(one)):
        after = rejudged(other, calibrated(mapping, other.probabilities))
        assert measured("log_loss", after) < measured("log_loss", other) - 0.2
        assert measured("ece", after) < measured("ece", other) / 3


def test_the_line_goes_through_the_pools_of_isotonic_regression() -> None:
    judged = MeasuredRows.of(drawn(80, seed=5))  # fewer rows than bins: nothing is put together beforehand
    raw, hits = judged.risk, judged.labels > 0
    # The same two rows that are added so that nothing is certain.
    values = IsotonicRegression().fit_transform(np.r_[raw.min(), raw, raw.max()], np.r_[1.0, hits, 0.0])
    pools = sorted({round(float(value), 9) for value in values})
    knots = [round(share, 9) for at, share in fit_isotonic(judged).risk if 0 < at < 1]
    assert knots == pools


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_whatever_the_rows_the_fit_is_a_calibration_and_never_certain(
    rows: list[tuple[int, int, int]],
) -> None:
    judged = MeasuredRows.of(
        [
            scored(
                f"r{at}",
                SEVERITIES[label],
                (1 - safe / 8, safe / 8 * (1 - unsafe / 8), safe / 8 * unsafe / 8),
            )
            for at, (label, safe, unsafe) in enumerate(rows)
        ]
    )
    lines = fit_isotonic(judged)  # it validates: raw values rise, calibrated ones do not fall
    assert all(0 < share < 1 for _, share in lines.risk)
    found = calibrated(lines, judged.probabilities)
    assert np.allclose(found.sum(axis=1), 1)
    assert 0.05 <= fit_temperature(judged).temperature <= 20


def test_one_line_tells_every_two_scores_apart() -> None:
    judged = MeasuredRows.of(drawn(400, seed=8))
    before = measured("auroc_safe", judged)
    after = rejudged(judged, calibrated(fit_isotonic(judged), judged.probabilities))
    assert measured("auroc_safe", after) == pytest.approx(before, abs=1e-6)
    assert len(np.unique(after.risk.round(12))) == len(np.unique(judged.risk.round(12)))


def test_without_harmful_rows_unsafe_keeps_its_share() -> None:
    rows = [scored(f"r{at}", "safe", (0.5, 0.25, 0.25)) for at in range(20)]
    assert fit_isotonic(MeasuredRows.of(rows)).unsafe == ((0.0, 0.0), (1.0, 1.0))
    assert weights_of(rows).shape == (1, 20)
