"""The page of candidates: who sees it, of which tenants, coverage before every rate, and no case that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.pipeline.review.candidates import TriedPosts
from sluicegate.pipeline.settings.tree import CandidateSettings
from sluicegate.pipeline.shadow.records import SummaryRecord
from support.cases import HERON, Bench, post
from support.desk import browsing, desk_of
from unit.pipeline.review.test_candidates import allowed, compared
from unit.pipeline.review.web.test_figure_pages import HOSTILE, enter_as
from unit.pipeline.shadow.summaries import a_summary

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


def tell(bench: Bench, document: dict[str, Any], name: str = "retrained") -> None:
    """The comparator tells of an experiment."""
    record = SummaryRecord(experiment=name, document=orjson.loads(orjson.dumps(document)))
    with bench.store.writing() as connection:
        TriedPosts.keep_summary(connection, record)


def trying(bench: Bench) -> Bench:
    """The same desk, with an experiment."""
    return Bench(
        bench.store,
        CandidateSettings(experiment="retrained", share=1.0),
        blind_share=0,
        double_share=0,
    )


def test_coverage_comes_first_and_disagreements_stand_there_once_they_are_decided(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, plain):
        bench = trying(plain)
        for name in ("decided", "waits"):
            one = post(name)
            bench.take(one, allowed(one), compared(allowed(one)))
            if name == "decided":
                (case,) = bench.all()
                bench.answer(case.case_id, HERON, "block", blind=True)
        (waits,) = bench.all()
        tell(bench, a_summary())
        with browsing(desk) as browser:
            enter_as(browser, bench, "lead")
            page = browser.get("/candidates").text
            assert page.index("100.00 %") < page.index("Candidate milder") < page.index("Change of blocks")
            assert "40 posts are evidence, and 500 have to be" in page
            assert "asked about 2 posts, and 1 of them wait" in page
            assert case.case_id[:8] in page
            assert waits.case_id[:8] not in page, "whoever judges it blindly must not see what both said"
            assert "retrained" not in browser.get(f"/cases/{waits.case_id}").text


@pytest.mark.parametrize(
    ("role", "status"),
    [("reviewer", 403), ("lead", 200), ("policy_editor", 200), ("auditor", 200), ("administrator", 200)],
)
def test_a_role_sees_candidates_or_does_not(tmp_path: Path, role: str, status: int) -> None:
    with desk_of(tmp_path) as (desk, bench), browsing(desk) as browser:
        enter_as(browser, bench, role)
        assert browser.get("/candidates").status_code == status


def test_whoever_may_see_one_tenant_sees_no_sum_over_others(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, bench), browsing(desk) as browser:
        tell(bench, a_summary())
        enter_as(browser, bench, "lead", ("acme",))
        page = browser.get("/candidates").text
        assert "acme" in page
        assert "Change of blocks" not in page
        enter_as(browser, bench, "lead", ("other",))
        page = browser.get("/candidates").text
        assert "acme" not in page
        assert "5.00 %" not in page


def test_what_a_summary_says_is_text_and_one_of_another_release_is_left_out(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, bench), browsing(desk) as browser:
        enter_as(browser, bench, "lead")
        assert "There is no experiment" in browser.get("/candidates").text
        document = a_summary()
        document["conclusion"]["reasons"] = [HOSTILE]
        tell(bench, document)
        tell(bench, {"format": 99}, "newer")
        page = browser.get("/candidates").text
        assert "<script>alert" not in page
        assert "has not told of it yet" in page
