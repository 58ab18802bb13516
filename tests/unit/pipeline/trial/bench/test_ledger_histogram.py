"""Percentiles from buckets against percentiles from every value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.trial.bench.ledger import GROWTH, Histogram


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def test_of_nothing_nothing_is_known() -> None:
    assert Histogram().percentile_ms(0.5) is None
    assert Histogram().mean_ms is None
    assert set(Histogram().summary().values()) == {None}


def test_a_hundred_values_counted_by_hand() -> None:
    summary = filled([float(value) for value in range(1, 101)]).summary()
    assert summary["mean_ms"] == 50.5
    assert summary["max_ms"] == 100
    for name, exact in {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}.items():
        assert exact <= (summary[name] or 0) <= exact * GROWTH + 0.1


def test_a_single_value_is_every_percentile_and_exact() -> None:
    assert set(filled([37.0]).summary().values()) == {37.0}


def test_what_is_negative_counts_as_nothing_and_what_is_endless_as_a_week() -> None:
    assert filled([-5.0]).summary()["max_ms"] == 0
    assert filled([math.inf]).percentile_ms(1) == 7 * 86_400_000


@given(
    st.lists(st.floats(0, 1e8), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_percentile_is_never_too_low_and_at_most_a_bucket_too_high(
    values: list[float], share: float
) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    found = filled(values).percentile_ms(share)
    assert found is not None
    assert exact * (1 - 1e-6) <= found <= max(0.1, exact * GROWTH * (1 + 1e-6))


def test_however_much_is_counted_the_buckets_are_bounded() -> None:
    histogram = filled([1.017**number for number in range(2_000)])
    assert len(histogram._buckets) <= 1_200


@pytest.mark.parametrize("copies", [1, 1000])
def test_the_share_counts_values_and_not_buckets(copies: int) -> None:
    histogram = filled([1.0] * 98 * copies + [1000.0] * 2 * copies)
    assert (histogram.percentile_ms(0.95) or 0) < 1.1
    assert (histogram.percentile_ms(0.99) or 0) >= 1000
