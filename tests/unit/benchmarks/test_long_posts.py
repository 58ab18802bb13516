"""The report's arithmetic, and the documentation's table against the report."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]
REPORTS = ROOT / "benchmarks" / "reports"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "long_posts", ROOT / "benchmarks" / "studies" / "long_posts" / "study.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules["long_posts"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_documented_table_is_the_reports(report: Any) -> None:
    rows = [report.Row(**row) for row in json.loads((REPORTS / "long-posts.json").read_text())]
    table = report.table(rows)
    assert (REPORTS / "long-posts.md").read_text().strip() == table
    assert table in (ROOT / "docs" / "texts.md").read_text()


@pytest.mark.parametrize(("place", "where"), [("start", 0.0), ("middle", 0.5), ("end", 1.0)])
def test_the_sentence_stands_where_the_row_says(report: Any, place: str, where: float) -> None:
    text = report.text_of(place, 2000, 120)
    assert text.count(report.THREAT) == 1
    assert text.index(report.THREAT) / (len(text) - len(report.THREAT)) == pytest.approx(where, abs=0.02)
    assert report.THREAT not in report.text_of("nowhere", 2000, 120)
