"""Arrivals: fixed in advance, as many as asked for, in the shape asked for."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.trial.bench.load import MOST_POSTS, Shape, level, plan_arrivals


@pytest.mark.parametrize("shape", Shape)
def test_equal_arguments_give_equal_arrivals_and_another_seed_gives_others(shape: Shape) -> None:
    first, again = (plan_arrivals(shape, rate=50, duration_s=4, seed=1) for _ in range(2))
    assert first == again
    assert plan_arrivals(shape, rate=50, duration_s=4, seed=2).at_s != first.at_s


@pytest.mark.parametrize("shape", Shape)
def test_there_are_rate_times_duration_of_them_in_order_and_in_time(shape: Shape) -> None:
    arrivals = plan_arrivals(shape, rate=50, duration_s=4, seed=0)
    assert len(arrivals.at_s) == len(arrivals.copied) == 200
    assert list(arrivals.at_s) == sorted(arrivals.at_s)
    assert 0 <= arrivals.at_s[0] <= arrivals.at_s[-1] <= arrivals.duration_s == 4


def test_fewer_posts_make_a_shorter_run_at_the_same_rate() -> None:
    arrivals = plan_arrivals(Shape.CONSTANT, rate=50, duration_s=60, seed=0, posts=100)
    assert (len(arrivals.at_s), arrivals.duration_s) == (100, 2)
    assert arrivals.at_s[-1] <= 2


@pytest.mark.parametrize("shape", Shape)
def test_the_mean_of_a_shape_is_the_rate_asked_for(shape: Shape) -> None:
    places = [(number + 0.5) / 30_000 for number in range(30_000)]
    assert sum(level(shape, place) for place in places) / len(places) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "part", "share"),
    [
        (Shape.CONSTANT, (0.0, 0.5), 0.5),
        (Shape.DIURNAL, (0.25, 0.75), 0.5 + 0.8 / 3.14159),  # the integral of 1 - 0.8 cos(2 pi x)
        (Shape.BURST, (0.045, 0.055), 0.05),  # a hundredth of the run at five times the rate
        (Shape.FLOOD, (1 / 3, 2 / 3), 2 / 3),
    ],
)
def test_as_many_arrive_in_a_part_as_the_shape_says(
    shape: Shape, part: tuple[float, float], share: float
) -> None:
    arrivals = plan_arrivals(shape, rate=1000, duration_s=20, seed=3)
    inside = sum(part[0] <= at_s / 20 < part[1] for at_s in arrivals.at_s)
    assert inside / 20_000 == pytest.approx(share, abs=0.015)


def test_a_flood_is_three_in_four_of_the_middle_third_and_other_shapes_have_none() -> None:
    arrivals = plan_arrivals(Shape.FLOOD, rate=300, duration_s=30, seed=0)
    inside = [copied for at_s, copied in zip(arrivals.at_s, arrivals.copied, strict=True) if 10 <= at_s < 20]
    assert sum(inside) == sum(arrivals.copied)
    assert sum(inside) / len(inside) == pytest.approx(0.75, abs=0.03)
    assert not any(plan_arrivals(Shape.BURST, rate=300, duration_s=30, seed=0).copied)


def test_gaps_are_irregular_as_in_a_crowd_of_people() -> None:
    arrivals = plan_arrivals(Shape.CONSTANT, rate=100, duration_s=100, seed=0)
    gaps = [after - before for before, after in zip(arrivals.at_s, arrivals.at_s[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance**0.5 / mean == pytest.approx(1, abs=0.1)  # 1 of a Poisson process, 0 of a metronome


@pytest.mark.parametrize(("rate", "duration_s"), [(MOST_POSTS, 2), (0.01, 1)])
def test_a_run_of_too_many_posts_or_of_none_is_refused_with_the_fix(rate: float, duration_s: float) -> None:
    with pytest.raises(BenchError, match="change --rate or --duration"):
        plan_arrivals(Shape.CONSTANT, rate=rate, duration_s=duration_s, seed=0)
