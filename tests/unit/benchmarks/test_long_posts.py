"""The report's arithmetic, and the documentation's table against the"""

from __future__ import annotations

import json

import pytest

from shared.report import REPORTS, ROOT
from studies.long_posts.study import THREAT, Row, table, text_of


def test_the_documented_table_is_the_reports() -> None:
    rows = [Row(**row) for row in json.loads((REPORTS / "long-posts.json").read_text())]
    told = table(rows)
    assert (REPORTS / "long-posts.md").read_text().strip() == told
    assert told in (ROOT / "docs" / "texts.md").read_text()


@pytest.mark.parametrize(("place", "where"), [("start", 0.0), ("middle", 0.5), ("end", 1.0)])
def test_the_sentence_stands_where_the_row_says(place: str, where: float) -> None:
    text = text_of(place, 2000, 120)
    assert text.count(THREAT) == 1
    assert text.index(THREAT) / (len(text) - len(THREAT)) == pytest.approx(where, abs=0.02)
    assert THREAT not in text_of("nowhere", 2000, 120)
