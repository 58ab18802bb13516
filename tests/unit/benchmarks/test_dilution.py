"""The dilution suite: its posts, its arithmetic, and the documentation's tables against the report."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from dilution.report import Found, Row, page, row_of, summary, table_of  # noqa: E402 - benchmarks are no package
from dilution.stream import Cost  # noqa: E402 - the same
from dilution.suite import WAYS, suite  # noqa: E402 - the same

from sluicegate.engines.text.passages import width  # noqa: E402 - the same
from sluicegate.schemas import Action  # noqa: E402 - the same

REPORT = json.loads((ROOT / "benchmarks" / "reports" / "dilution.json").read_bytes())
COST = Cost(
    posts=10, with_passage=3, computed_before=200, computed_added=5, whole_before=400, whole_added=8,
    harmless=50, leave=1, leave_texts=1,
)  # fmt: skip


def test_there_are_four_hundred_posts_in_ten_ways_and_the_last_hundred_are_apart() -> None:
    posts = suite()
    assert len({one.post.id for one in posts}) == 400
    assert Counter(one.way for one in posts) == dict.fromkeys(WAYS, 40)
    assert Counter(one.part for one in posts) == {"first": 300, "last": 100}
    originals = {part: {one.original.id for one in posts if one.part == part} for part in ("first", "last")}
    assert not originals["first"] & originals["last"]


@pytest.mark.parametrize("way", WAYS)
def test_every_post_holds_its_original_and_more(way: str) -> None:
    for one in suite():
        if one.way != way:
            continue
        assert width(one.post.text) > width(one.original.text) + 100
        words, held = one.original.text.split(), one.post.text
        if way != "sentences in between":
            assert " ".join(words) in " ".join(held.split())
        assert (one.post.kind, one.post.language) == (one.original.kind, one.original.language)


def found(original: Action, before: Action, now: Action) -> Found:
    return Found(suite()[0], original, before, now)


def test_posts_whose_original_is_allowed_say_nothing() -> None:
    allow, review, block = Action.ALLOW, Action.REVIEW, Action.BLOCK
    counted = row_of(
        "all",
        [
            found(allow, allow, allow),
            found(review, allow, allow),
            found(block, allow, review),
            found(block, block, block),
        ],
    )
    assert counted == Row("all", 3, 2, 1)
    assert counted.percent == pytest.approx(100 / 3)


def test_the_closing_line_has_every_share() -> None:
    posts = suite()
    judged = [
        Found(posts[0], Action.BLOCK, Action.ALLOW, Action.ALLOW),
        Found(posts[-1], *[Action.BLOCK] * 3),
    ]
    assert summary(judged, COST, (7, 8)) == (
        "injection: 7 of 8 held; dilution: 50.0 % of 2 allowed (first 1: 100.0 %, last 1: 0.0 %), "
        "engine tokens +2.5 %, harmless posts leaving allow +2.00 points"
    )
    assert summary(judged, None, (7, 8)).endswith("not measured: give a stream with DATA")


def test_the_report_is_the_page_and_stands_in_the_documentation() -> None:
    cost = Cost(**REPORT["stream"])
    assert page(REPORT, cost) == (ROOT / "benchmarks" / "reports" / "dilution.md").read_text(encoding="utf-8")
    documented = (ROOT / "docs" / "texts.md").read_text(encoding="utf-8")
    for name, key in (("set", "sets"), ("way", "ways"), ("language", "languages")):
        assert table_of(name, [Row(**row) for row in REPORT[key]]) in documented
    for figure in (cost.with_passage, cost.leave, cost.leave_texts):
        assert f"{figure:,}" in documented
    assert f"{cost.tokens_percent:.1f} %" in documented
    assert f"{cost.harmless_points:.2f} points" in documented
