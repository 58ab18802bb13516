"""The report of an experiment: coverage before every rate, nothing from outside, and no foreign name as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.report import PLOTS, draw, html, markdown
from sluicegate.pipeline.shadow.summary import ReviewCounts, Series
from sluicegate.pipeline.shadow.tally import Tally
from unit.pipeline.shadow.sides import compared
from unit.pipeline.shadow.summaries import a_summary, a_tally

if TYPE_CHECKING:
    from pathlib import Path


class Tags(HTMLParser):
    """Tags and attributes of a page, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.found.append((tag, dict(attrs)))


def test_coverage_stands_before_every_rate() -> None:
    for page in (markdown(a_summary()), html(a_summary(), {})):
        assert page.index("Both judged 100.00 % of 40 contents") < page.index("milder on")
        headings = re.findall(r"(?:^## |<h2>)([A-Za-z ]+)", page, re.MULTILINE)
        assert headings[:4] == ["Coverage", "What is shown", "Disagreement", "Who is right"]


def test_the_pages_say_the_counts_bounds_and_what_is_missing() -> None:
    page = markdown(a_summary())
    assert "40 posts are evidence, and 500 have to be" in page
    assert re.search(r"\| the candidate is milder \| 2 \| 5\.00 % \| 0\.\d\d % \| \d\d\.\d\d % \|", page)
    assert r"allow -&gt; block | 1" in page
    assert "| incumbent | 40 | 10.00 |" in page
    assert "| candidate | 40 | 15.00 |" in page
    assert "| zh | 100.00 % | 1 | 1 | 1 |" in page
    assert "| tenant | " in page


def test_a_stratum_with_too_few_posts_is_named_as_not_judged() -> None:
    assert re.search(r"^\| de .*too few posts \|$", markdown(a_summary()), re.MULTILINE)
    tally = Tally()
    for number in range(2_000):
        tally.add(compared("allow", "allow", f"{number}"))
    assert re.search(r"^\| de .*shown \|$", markdown(a_summary(tally=tally)), re.MULTILINE)


def test_who_was_right_is_said_where_somebody_looked() -> None:
    assert "Nobody has reviewed a post" in markdown(a_summary())
    page = markdown(a_summary(reviews=ReviewCounts(40, 5, 0, 3)))
    assert "The candidate is shown to be right more often" in page
    assert "| the candidate was right | 40 |" in page
    page = markdown(a_summary(reviews=ReviewCounts(5, 40)))
    assert "The incumbent is shown to be right more often" in page
    assert "Neither is shown" in markdown(a_summary(reviews=ReviewCounts(1, 1)))


def test_the_html_page_loads_nothing_from_outside(tmp_path: Path) -> None:
    series, tally = Series(), a_tally()
    series.note(3_600.0, tally)
    document = a_summary(tally=tally, series=series.points)
    draw(document, tmp_path)
    page = html(document, {name: (tmp_path / name).read_bytes() for name in PLOTS})
    tags = Tags(page).found
    sources = [
        value or "" for _, found in tags for name, value in found.items() if name in ("src", "href", "action")
    ]
    assert len(sources) == len(PLOTS)
    assert all(one.startswith("data:image/png;base64,iVBOR") for one in sources)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}


def test_no_foreign_name_becomes_markup() -> None:
    tally = a_tally()
    tally.add(compared("block", "allow", "evil", categories=("<script>alert(1)</script>", "a|b **c**")))
    page = html(a_summary(tally=tally, name="<b>x"), {})
    assert "script" not in {tag for tag, _ in Tags(page).found}
    assert "<b>" not in page
    text = markdown(a_summary(tally=tally))
    assert "<script>" not in text
    assert r"a\|b \*\*c\*\*" in text


def test_an_experiment_without_a_post_has_a_report(tmp_path: Path) -> None:
    document = a_summary(tally=Tally())
    assert "Both judged 0.00 % of 0 contents" in markdown(document)
    draw(document, tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == set(PLOTS)


def test_a_summary_of_another_format_is_refused(tmp_path: Path) -> None:
    document = a_summary() | {"format": 2}
    for make in (markdown, lambda one: html(one, {}), lambda one: draw(one, tmp_path)):
        with pytest.raises(CandidateError, match="make it with this release"):
            make(document)
