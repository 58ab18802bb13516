"""What the study of categories' bars counts, on rows and explanations that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.protocol import Explanation, ItemFailure
from sluicegate.schemas import FailureCode, Scores
from studies.category_bars.study import LOW, Explained, in_reach, page, policies, tally

ROOT = Path(__file__).parents[3]
REPORTS = ROOT / "benchmarks" / "reports"


def row(name: str, category: str) -> Row:
    return Row(
        id=name, text="x", kind="post", severity="unsafe", categories=(category,), source="s", licence="MIT"
    )


def scores(unsafe: float) -> Scores:
    return Scores(safe=1 - unsafe, controversial=0, unsafe=unsafe)


@pytest.mark.parametrize(
    ("unsafe", "reach"), [(0.14, False), (0.15, True), (0.39, True), (0.4, False), (0.6, False)]
)
def test_a_row_is_in_reach_where_only_a_categorys_bar_stops_it_and_safe_is_likeliest(
    unsafe: float, *, reach: bool
) -> None:
    assert in_reach(policies()[LOW], row("a", "PII"), scores(unsafe)) is reach


def test_what_is_named_decides_and_a_failed_explanation_names_nothing() -> None:
    none, right, wrong = Explanation(()), Explanation(("PII",)), Explanation(("Violent",))
    failed = ItemFailure(FailureCode.TIMED_OUT)
    found = [
        Explained(row("a", "PII"), scores(0.2), none, right),
        Explained(row("b", "PII"), scores(0.2), none, wrong),
        Explained(row("c", "PII"), scores(0.2), failed, failed),
        Explained(row("d", "PII"), scores(0.5), none, right),  # out of reach
    ]
    counted = tally(LOW, policies()[LOW], found)
    assert (counted.rows, counted.stopped_before, counted.stopped_after) == (3, 0, 2)
    assert (counted.named_before, counted.named_after) == (0, 2)
    assert (counted.right_before, counted.right_after, counted.labelled) == (0, 1, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("category-bars", "stopped {before} of {rows} before, and {after} of {rows} now"),
        (
            "category-bars-harmless",
            "stopped {before} of the {rows} in reach before, and {after} of {rows} now",
        ),
    ],
)
def test_the_page_says_what_the_figures_say_and_the_docs_quote_it(name: str, said: str) -> None:
    document = json.loads((REPORTS / f"{name}.json").read_text())
    assert (REPORTS / f"{name}.md").read_text() == page(document)
    (low,) = [one for one in document["policies"] if one["policy"] == LOW]
    quoted = " ".join((ROOT / "docs" / "policy.md").read_text().split())
    figures = {"before": low["stopped_before"], "after": low["stopped_after"], "rows": low["rows"]}
    assert said.format(**figures) in quoted
    assert f"{document['rows']} {document['of']} dev rows" in quoted
