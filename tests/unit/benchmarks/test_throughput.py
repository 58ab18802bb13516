"""The arithmetic of the throughput figures."""

from __future__ import annotations

import pytest

from judge_latency.study import report as percentiles
from throughput.study import distinct_posts, rate


@pytest.mark.parametrize(
    ("count", "seconds", "expected"),
    [(101, 10.0, 10.0), (2, 0.5, 2.0), (1, 5.0, 0.0), (0, 0.0, 0.0), (5, 0.0, 0.0)],
)
def test_a_rate_counts_the_intervals_between_events(count: int, seconds: float, expected: float) -> None:
    assert rate(count, seconds) == expected


def test_distinct_posts_have_distinct_prompts() -> None:
    posts = distinct_posts(50)
    assert len({(post.text, post.kind, post.region, post.language) for post in posts}) == len(posts) == 50


def test_percentiles_of_latencies_are_in_milliseconds_and_in_order() -> None:
    report = percentiles([number / 1000 for number in range(1, 101)], 2.0)
    numbers = [value for name, value in report.items() if name.startswith("p")]
    assert numbers == sorted(numbers)
    assert 50 <= numbers[0] <= 51
    assert 99 <= numbers[-1] <= 100
