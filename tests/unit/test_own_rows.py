"""Our own rows against the page that describes them, and against the reader."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled
from sluicegate.schemas import CATEGORIES

FOLDER = Path(__file__).parents[2] / "examples" / "adapt"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = sorted((FOLDER / "rows").glob("*.jsonl"))
SEVERITIES = ("safe", "controversial", "unsafe")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_counts_each_file_and_every_row_is_read(path: Path) -> None:
    found = read_labelled([path])
    assert (found.faulty_rows, found.repeated_rows) == (0, 0)
    rows = found.rows
    severities: Counter[str] = Counter(row.severity for row in rows)
    cells = [
        f"`{path.name}`",
        f"{len(rows):,}",
        " / ".join(str(severities[one]) for one in SEVERITIES),
        ", ".join(sorted({row.kind for row in rows})),
        ", ".join(sorted({row.language or "" for row in rows})),
    ]
    assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_counts_what_the_rows_hold_together() -> None:
    rows = read_labelled([FOLDER / "rows"]).rows
    assert len(re.findall(r"^\| `", PAGE, re.MULTILINE)) == len(FILES)
    assert f"{len(rows):,} rows in the form" in PAGE
    groups = defaultdict(set)
    for row in rows:
        groups[row.group].add(row.severity)
    alike = sum(row.severity == "safe" and len(groups[row.group]) > 1 for row in rows)
    assert f"{alike} safe rows stand beside a harmful one" in PAGE
    assert f"{sum(row.refusal is True for row in rows)} refuse" in PAGE
    assert f"{sum(row.region is not None for row in rows)} rows name the region" in PAGE
    assert {(row.licence, row.label_basis) for row in rows} == {("Apache-2.0", "written")}
    assert all(row.reason and row.group for row in rows)
    assert {one for row in rows for one in row.categories} == set(CATEGORIES)


def test_responses_and_only_they_have_a_prompt_and_say_whether_they_refuse() -> None:
    for row in read_labelled([FOLDER / "rows"]).rows:
        assert (row.context is not None) == (row.refusal is not None) == (row.kind == "response"), row.id


def test_no_text_stands_twice() -> None:
    rows = read_labelled([FOLDER / "rows"]).rows
    counts = Counter((row.text, row.context) for row in rows)
    assert [text for text, count in counts.items() if count > 1] == []


def test_links_of_the_page_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (FOLDER / link).exists(), link
