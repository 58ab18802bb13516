"""The pages of figures: who sees them, of which tenants, and the numbers beside each bar."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from starlette.responses import Response

from sluicegate.pipeline.review.figures import CountedShare
from sluicegate.pipeline.review.web.figure_pages import share_plot
from sluicegate.pipeline.review.web.sessions import Sessions
from support.cases import HERON, Bench, judged, post
from support.desk import browsing, desk_of

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.timeout(120)

HOSTILE = '"><script>alert(1)</script>'


def enter_as(browser: httpx.Client, bench: Bench, role: str, tenants: tuple[str, ...] = ()) -> None:
    sessions, response = Sessions(bench.store, secure=False), Response()
    sessions.begin(response, f"a {role}", role, tenants)
    name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
    browser.cookies.set(name, value)


def test_the_share_that_people_overturn_stands_beside_its_bar(tmp_path: Path) -> None:
    texts = [post(f"p{number}", language="de") for number in range(4)]
    with desk_of(tmp_path, *texts) as (desk, bench):
        for number, case in enumerate(bench.all()):
            bench.answer(case.case_id, HERON, "block" if number == 0 else "allow")
        with browsing(desk) as browser:
            enter_as(browser, bench, "lead")
            page = browser.get("/model").text
            assert "25.0 %" in page
            assert "1 / 4" in page
            assert '<rect class="value" width="25.00"' in page
            told = browser.get("/figures").text
            assert "heron" in told
            assert "1 / 60" in told, "one hard text of sixty before a pause"


@pytest.mark.parametrize(
    ("role", "status"),
    [("reviewer", 403), ("lead", 200), ("policy_editor", 200), ("auditor", 200), ("administrator", 200)],
)
def test_a_role_sees_figures_or_does_not(tmp_path: Path, role: str, status: int) -> None:
    with desk_of(tmp_path, post()) as (desk, bench), browsing(desk) as browser:
        enter_as(browser, bench, role)
        assert browser.get("/figures").status_code == browser.get("/model").status_code == status
        assert ('href="/model"' in browser.get("/").text) is (status == 200)


def test_who_may_see_no_case_begins_with_the_figures(tmp_path: Path) -> None:
    with desk_of(tmp_path, post()) as (desk, bench), browsing(desk) as browser:
        enter_as(browser, bench, "administrator")
        assert browser.get("/").url.path == "/figures"
        assert browser.get("/queue").status_code == 403


def test_figures_are_of_the_tenants_that_somebody_may_see(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, bench):
        for tenant in ("forum", "market"):
            text = post(tenant, tenant=tenant)
            bench.take(text, judged(text, categories=[f"of {tenant}"]))
            bench.answer(next(one.case_id for one in bench.all() if one.tenant == tenant))
            waiting = post(f"{tenant} 2", tenant=tenant)
            bench.take(waiting, judged(waiting))
        with browsing(desk) as browser:
            enter_as(browser, bench, "lead", ("forum",))
            for path in ("/figures", "/model"):
                page = browser.get(path).text
                assert "forum" in page
                assert "market" not in page


def test_names_that_others_chose_are_nothing_but_text(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, bench):
        text = post("a")
        bench.take(text, judged(text, categories=[HOSTILE]))
        bench.answer(bench.all()[0].case_id)
        with browsing(desk) as browser:
            enter_as(browser, bench, "lead")
            page = browser.get("/model").text
            assert "<script>alert" not in page
            assert "&lt;script&gt;alert" in page


def test_a_plot_has_a_bounded_number_of_rows() -> None:
    plot = share_plot("x", {str(number): CountedShare(1, 2) for number in range(1000)})
    assert len(plot.rows) == 50


@pytest.mark.parametrize(
    ("role", "status"),
    [("reviewer", 403), ("lead", 403), ("policy_editor", 403), ("auditor", 200), ("administrator", 200)],
)
def test_a_role_sees_the_journal_or_does_not(tmp_path: Path, role: str, status: int) -> None:
    with desk_of(tmp_path, post()) as (desk, bench), browsing(desk) as browser:
        enter_as(browser, bench, role)
        assert browser.get("/journal").status_code == status
        assert ('href="/journal"' in browser.get("/").text) is (status == 200)


def test_the_journal_says_who_did_what_and_goes_back_as_far_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.pipeline.review.web.journal_pages._ROWS", 2)
    with desk_of(tmp_path, post()) as (desk, bench), browsing(desk) as browser:
        (case,) = bench.all()
        bench.answer(case.case_id, HERON, "block")
        enter_as(browser, bench, "auditor")
        page = browser.get("/journal").text
        assert "logged in" in page
        assert "case answered" in page
        assert "case opened" not in page
        (older,) = re.findall(r'href="(/journal\?[^"]+)"', page)
        assert "case opened" in browser.get(html.unescape(older)).text
        of_case = browser.get("/journal", params={"of": case.case_id}).text
        assert "case answered" in of_case
        assert "logged in" not in of_case
        assert "Nothing is noted here." in browser.get("/journal", params={"of": HOSTILE + "\0"}).text
        assert HOSTILE not in browser.get("/journal", params={"of": HOSTILE}).text


def test_the_journal_is_of_the_tenants_that_somebody_may_see(tmp_path: Path) -> None:
    with desk_of(tmp_path) as (desk, bench), browsing(desk) as browser:
        for tenant in ("forum", "market"):
            text = post(tenant, tenant=tenant)
            bench.take(text, judged(text))
        ours, theirs = (
            next(one for one in bench.all() if one.tenant == name) for name in ("forum", "market")
        )
        enter_as(browser, bench, "auditor", ("forum",))
        page = browser.get("/journal").text
        assert ours.case_id in page
        assert theirs.case_id not in page
        assert (
            theirs.case_id
            not in browser.get("/journal", params={"of": theirs.case_id}).text.partition("<table")[2]
        )
