"""The arithmetic of two tiers: posts accounted for by id, the engine's own counts, and what a screen saves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies.two_tiers.report import (
    ALONE,
    SAID,
    SCREENED,
    TIERS,
    Run,
    learnt_line,
    least_line,
    least_saving,
    page,
    rounds_of,
    run_of,
    saving,
    table_of,
)
from support.collector import Record

ROOT = Path(__file__).resolve().parents[3]
REPORTS = ROOT / "benchmarks" / "reports"
COUNTS = {"prompts": 3, "prompt_tokens": 30.5, "explained": 1, "work_s": 0.5}


def verdict(post_id: str, by: str = "engine") -> Record:
    return Record("t", 0, 0, None, {"post_id": post_id, "assessed_by": by})


def run(arrangement: str, *, work_s: float, posts: int = 1000, by_screen: int = 0, learnt: int = 0) -> Run:
    return Run(arrangement, posts, posts, 0, by_screen, learnt, 0, posts, 10.0 * posts, 0, work_s)


def test_a_post_without_a_verdict_is_lost_and_a_repeat_makes_up_for_none() -> None:
    letter = Record("t", 0, 0, None, {"dead_letter_id": "x"})
    records = [verdict("a", "screen"), verdict("a", "screen"), verdict("b"), letter]
    found = run_of(TIERS, ["a", "b", "c"], records, COUNTS, forwarded=2, learnt={"a", "b"})
    assert (found.posts, found.verdicts, found.lost) == (3, 3, 1)
    assert (found.by_screen, found.learnt_by_screen, found.forwarded) == (1, 1, 2)
    assert (found.prompts, found.prompt_tokens, found.explained, found.work_s) == (3, 30.5, 1, 0.5)


def test_saved_is_engine_time_against_the_same_posts_without_a_screen() -> None:
    alone = run(ALONE, work_s=2.0)
    assert saving(run(SCREENED, work_s=1.5), alone) == 0.25
    assert saving(run(SCREENED, work_s=2.5), alone) == -0.25
    for other in (replace(alone, posts=999), replace(alone, work_s=0.0)):
        with pytest.raises(ValueError, match="the same posts"):
            saving(run(SCREENED, work_s=1.5), other)


def test_the_least_saving_counts_no_explanation_as_saved() -> None:
    alone = replace(run(ALONE, work_s=2.0), explained=300)
    screened = replace(run(SCREENED, work_s=1.5), explained=125)
    assert least_saving(screened, alone) == pytest.approx(0.25 - 175 * 16 / 28_000 / 2.0)
    assert least_saving(replace(screened, explained=300), alone) == saving(screened, alone)


def test_rounds_are_kept_apart_whatever_their_order() -> None:
    runs = [run(name, work_s=1.0) for name in (ALONE, SCREENED, TIERS, TIERS, SCREENED, ALONE)]
    assert [list(one) for one in rounds_of(runs)] == [[ALONE, SCREENED, TIERS], [TIERS, SCREENED, ALONE]]


def test_a_row_is_the_mean_of_its_rounds() -> None:
    first = [run(ALONE, work_s=2.0), run(SCREENED, work_s=1.0, by_screen=400), run(TIERS, work_s=1.5)]
    second = [run(TIERS, work_s=3.0), run(SCREENED, work_s=1.0, by_screen=500), run(ALONE, work_s=4.0)]
    rows = dict(line.strip("| ").split(" | ", 1) for line in table_of(first + second).splitlines()[2:])
    assert rows[SAID[ALONE]] == "1,000 | 1,000 | 0 | – | – | 1,000 | 10,000 | 3.000 | –"
    assert rows[SAID[SCREENED]] == "1,000 | 1,000 | 0 | 450 | – | 1,000 | 10,000 | 1.000 | 62.5 %"
    assert rows[SAID[TIERS]].endswith("2.250 | 25.0 %")


def test_what_the_screen_learnt_from_is_told_apart() -> None:
    runs = [run(SCREENED, work_s=1.0, by_screen=500, learnt=400)]
    assert "**800 of the posts" in learnt_line(800, runs)
    assert "answered 50.0 % of these, and 50.0 % of the others" in learnt_line(800, runs)
    assert "40.0 % of these, and none of the others" in learnt_line(1000, [replace(runs[0], by_screen=400)])
    assert "not looked up" in learnt_line(None, runs)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPORTS / "two-tiers.json").read_text(encoding="utf-8"))
    return found


def test_the_committed_report_is_its_figures_and_no_post_was_lost(report: dict[str, Any]) -> None:
    assert (REPORTS / "two-tiers.md").read_text(encoding="utf-8") == page(report)
    runs = [Run(**one) for one in report["runs"]]
    assert all(one.lost == 0 and one.verdicts == one.posts == 2000 for one in runs)
    for one in runs:
        if one.arrangement == TIERS:
            assert one.by_screen + one.forwarded == one.posts


def test_the_page_on_the_screen_has_the_reports_figures(report: dict[str, Any]) -> None:
    told = (ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8")
    runs = [Run(**one) for one in report["runs"]]
    assert table_of(runs) in told
    flat = " ".join(told.split())
    assert least_line(runs) in flat
    assert learnt_line(report["learnt"], runs) in flat


def test_the_page_on_the_screen_has_the_harm_that_was_found() -> None:
    points = json.loads((REPORTS / "screen-harm.json").read_text(encoding="utf-8"))["curve"]
    one = next(point for point in points if point["tolerance"] == 0.05)
    told = " ".join((ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8").split())
    assert f"{one['harm']} of the {one['answered']}" in told
    assert f"at most {100 * one['harm_at_most']:.1f} %" in told
