"""Intervals: they hold what they promise on rows whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.evaluate.measures import (
    MEASURES,
    MOST_RESAMPLES,
    Estimate,
    clusters,
    draws,
    estimates,
    resamples,
)
from support.scored import drawn, scored, sure

ACCURACY = {"accuracy": MEASURES["accuracy"]}


def rows_right(hits: list[bool], groups: list[str] | None = None) -> list:  # type: ignore[type-arg]
    return [
        scored(f"r{at}", "safe", sure("safe" if hit else "unsafe"), group=groups[at] if groups else None)
        for at, hit in enumerate(hits)
    ]


def test_about_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(120):
        found = estimates(rows_right((rng.random(80) < 0.7).tolist()), seed=trial, measures=ACCURACY)[
            "accuracy"
        ]
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        held += found.low <= 0.7 <= found.high
    assert 105 <= held <= 120


def test_rows_of_one_group_are_drawn_together_so_copies_add_no_certainty() -> None:
    rng = np.random.default_rng(2)
    hits = (rng.random(40) < 0.6).tolist()
    alone = estimates(rows_right(hits), seed=0, measures=ACCURACY)["accuracy"]
    copied = [hit for hit in hits for _ in range(5)]
    groups = [f"g{at}" for at in range(40) for _ in range(5)]
    grouped = estimates(rows_right(copied, groups), seed=0, measures=ACCURACY)["accuracy"]
    naive = estimates(rows_right(copied), seed=0, measures=ACCURACY)["accuracy"]

    def width(one: Estimate) -> float:
        assert one.low is not None
        assert one.high is not None
        return one.high - one.low

    assert width(grouped) == pytest.approx(width(alone), rel=0.2)
    assert width(naive) < 0.6 * width(grouped)


def test_one_group_alone_has_a_value_and_no_interval() -> None:
    found = estimates(rows_right([True, False], ["g", "g"]), seed=0)
    assert found["accuracy"] == Estimate(0.5)


def test_a_measure_that_most_draws_do_not_define_has_no_interval() -> None:
    # One unsafe row among two: half of the draws miss a side.
    rows = [scored("a", "safe", sure("safe")), scored("b", "unsafe", sure("unsafe"))]
    assert estimates(rows, seed=0)["auroc_safe"].value == 1.0
    assert estimates([*rows, scored("c", "safe", sure("safe"))], seed=0)["ece"].low is None


def test_the_same_seed_gives_the_same_and_another_name_or_seed_another() -> None:
    rows = drawn(50, seed=1)
    assert estimates(rows, seed=1, name="en") == estimates(rows, seed=1, name="en")
    assert estimates(rows, seed=1, name="en") != estimates(rows, seed=1, name="de")
    assert estimates(rows, seed=1, name="en") != estimates(rows, seed=2, name="en")


def test_failed_rows_alone_measure_nothing() -> None:
    assert estimates([scored("a", "safe", None)], seed=0) == {}


def test_a_group_and_a_row_of_the_same_name_are_not_one_cluster() -> None:
    rows = [scored("x", "safe", sure("safe")), scored("y", "safe", sure("safe"), group="x")]
    assert clusters(rows).tolist() == [0, 1]


@given(st.integers(1, 5_000_000))
def test_the_work_is_bounded(rows: int) -> None:
    assert 200 <= resamples(rows) <= MOST_RESAMPLES
    assert resamples(rows) * rows <= max(10_000_000, 200 * rows)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 99))
def test_every_draw_takes_as_many_clusters_as_there_are(names: list[int], seed: int) -> None:
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names))}
    cluster = np.array([numbers[name] for name in names])
    total = 0
    for weights in draws(cluster, seed=seed, name=""):
        firsts = [names.index(name) for name in numbers]
        assert (weights[:, firsts].sum(axis=1) == len(numbers)).all()
        total += len(weights)
    assert total == resamples(len(names))
