"""The arithmetic of the soak's report."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from faults.soak_report import as_markdown, closing_line, wishes_broken
from faults.watch import Growth, Sample, growth
from soak import study as soak

ROOT = Path(__file__).resolve().parents[3]
MIB = 2**20


def life(*rss_mib: float, descriptors: int = 20) -> list[Sample]:
    """Samples at 0, 1, 2 … seconds."""
    return [Sample(at, round(rss * MIB), descriptors) for at, rss in enumerate(rss_mib)]


def part(**changed: Any) -> dict[str, Any]:
    """A piece of a report that kept everything."""
    good = {
        "posts": 100,
        "posts_wanted": 100,
        "kills": 2,
        "kills_wanted": 2,
        "lost": 0,
        "wrong": 0,
        "stopped_early": "",
        "ended_by_themselves": [],
        "growth": {"start_descriptors": 20, "end_descriptors": 20},
        "growth_percent": 1.0,
        "factor": 120.0,
        "most_held": 4096,
        "window": 4096,
    }
    return good | changed


def test_growth_leaves_out_the_warm_up_and_compares_medians_of_its_ends() -> None:
    found = growth(life(10, 50, 100, 100, 101, 102, 103, 104, 105, 105, 110, 110), warm_up_s=2)
    assert found is not None
    assert (found.start_bytes, found.end_bytes) == (100 * MIB, 110 * MIB)
    assert found.percent == pytest.approx(10)


def test_one_peak_is_no_growth() -> None:
    rss = [100.0] * 50
    rss[-3] = 900
    found = growth(life(*rss), warm_up_s=0)
    assert found is not None
    assert found.percent == 0


def test_a_leak_is_growth() -> None:
    found = growth(life(*(100 + number for number in range(100))), warm_up_s=20)
    assert found is not None
    assert found.percent > 30


def test_growth_of_a_short_run_is_not_known() -> None:
    assert growth(life(1, 2, 3, 4), warm_up_s=0) is None
    assert growth([], warm_up_s=0) is None


def test_descriptors_are_followed_after_the_warm_up() -> None:
    samples = [*life(1, 1, descriptors=99), *[Sample(at, MIB, 20 + (at == 5)) for at in range(2, 12)]]
    found = growth(samples, warm_up_s=2)
    assert found == Growth(MIB, MIB, 20, 20, 20, 21)


def test_kills_are_spread_over_the_run_and_leave_its_end_alone() -> None:
    times = soak.kill_times(random.Random(1), 44, 47 * 60.0)
    assert len(times) == 44
    assert times == sorted(times)
    assert max(times) <= 47 * 60 - 5
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 130


def test_no_kills_are_no_times() -> None:
    assert soak.kill_times(random.Random(1), 0, 60.0) == []


@pytest.mark.parametrize(
    ("goal", "made", "left_s", "rate"),
    [(100, 0, 10, 10), (100, 90, 5, 2), (100, 130, 5, 0), (100, 50, 0, 50)],
)
def test_the_rate_makes_up_for_what_is_missing(goal: int, made: int, left_s: float, rate: float) -> None:
    assert soak.rate_to_go(goal, made, left_s) == rate


def test_a_good_report_breaks_no_wish() -> None:
    report = {"soak": part(), "overload": part()}
    assert wishes_broken(report) == []
    assert closing_line(report | {"broken": []}) == "soak: kept the promise"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lost": 1}, "1 lost, 0 wrong"),
        ({"wrong": 2}, "0 lost, 2 wrong"),
        ({"stopped_early": "interrupted"}, "stopped early (interrupted)"),
        ({"growth": None, "growth_percent": None}, "too short to say how memory grows"),
        ({"growth_percent": 5.0}, "memory grew by 5.0 %"),
        ({"ended_by_themselves": [1]}, "workers ended by themselves: [1]"),
        ({"posts": 99}, "99 posts, 100 wanted"),
        ({"kills": 1}, "1 kills, 2 wanted"),
        (
            {"growth": {"start_descriptors": 20, "end_descriptors": 24}},
            "file descriptors went from 20 to 24",
        ),
    ],
)
def test_a_wish_that_the_soak_breaks_is_named(changed: dict[str, Any], said: str) -> None:
    broken = wishes_broken({"soak": part(**changed)})
    assert broken == [f"soak: {said}"]
    assert closing_line({"broken": broken}) == f"soak: NOT kept: soak: {said}"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lost": 3}, "3 lost, 0 wrong"),
        ({"factor": 80.0}, "the producer was only 80 times as fast as the engine"),
        ({"most_held": 5000}, "5000 posts held, 4096 allowed"),
    ],
)
def test_a_wish_that_the_overload_breaks_is_named(changed: dict[str, Any], said: str) -> None:
    assert wishes_broken({"soak": part(), "overload": part(**changed)}) == [f"overload: {said}"]


def test_an_overload_alone_is_held_to_its_own_wishes() -> None:
    assert wishes_broken({"overload": part()}) == []
    assert wishes_broken({"overload": part(growth_percent=14.0)}) == ["overload: memory grew by 14.0 %"]


def test_the_page_holds_every_figure() -> None:
    report = {"date": "2026-01-01", "seed": 7, "versions": {"Python": "3.11"}, "soak": part(), "broken": []}
    page = as_markdown(report)
    assert "| posts wanted | 100 |" in page
    assert "| start descriptors | 20 |" in page
    assert page.endswith("`soak: kept the promise`\n")
