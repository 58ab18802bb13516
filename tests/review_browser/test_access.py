"""Every page and state of the desk by axe-core, light and dark; narrow, at 400 % zoom, and from right to left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sqlalchemy import update
from starlette.responses import Response

from sluicegate.pipeline.review.candidates import TriedPosts
from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.tables import cases
from sluicegate.pipeline.review.web.sessions import Sessions
from sluicegate.pipeline.shadow.records import SummaryRecord
from support.cases import HERON, MAGPIE, judged, post
from support.chromium import too_wide, violations
from unit.pipeline.shadow.summaries import a_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.chromium, pytest.mark.review_test, pytest.mark.timeout(280)]

WITHHELD: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
WIDE = {"viewport": {"width": 1280, "height": 1024}}
ZOOMED = {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4}
"""What 1280 pixels leave at 400 % zoom."""


@contextmanager
def _filled(desk: Callable[..., Any]) -> Iterator[tuple[Any, dict[str, str]]]:
    """A desk with a case of each kind, and where each of them is."""
    texts = {
        "open": post("open", "word " * 2000, language="de"),
        "unseen": post("unseen", "zero\u200bwidth and \u202eturned", language="ar"),
        "turned": post("turned", "x" * 5000, kind="response", context="a question before it"),
        "gone": post("gone", author_id="gone"),
        "decided": post("decided", author_id="known"),
        "history": post("history", author_id="known"),
        "disputed": post("disputed"),
    }
    with desk(lift_sample=1) as (sits, bench):
        places = {}
        for name, text in texts.items():
            bench.take(text, judged(text, categories=["Violent"], reason="long " * 60))
            (case,) = [one for one in bench.all() if bench.verdict(one.case_id).post_id == name]
            places[name] = f"/cases/{case.case_id}"
            if name == "disputed":
                with bench.store.writing() as connection:
                    connection.execute(
                        update(cases).where(cases.c.case_id == case.case_id).values(double=True)
                    )
                bench.answer(case.case_id, HERON, "allow")
                bench.answer(case.case_id, MAGPIE, "block")
            elif name == "decided":
                bench.answer(case.case_id, HERON, "block")
        for number in range(3):
            flood = post(f"flood {number}")
            bench.take(flood, judged(flood, breaker=WITHHELD))
        bench.answer(next(one for one in bench.all() if one.breaker).case_id, HERON)
        with bench.store.writing() as connection:
            bench.vault.erase(connection, "default", "gone")
        yield sits, places


def _states(places: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """An address, and what is pressed on its page."""
    return {
        "queue": ("/queue", "Preferences"),
        "a part of the queue": ("/queue?language=de&told=empty",),
        "a pause": ("/queue?told=pause",),
        "figures": ("/figures", "As a table"),
        "model": ("/model",),
        "nothing there": ("/cases/absent",),
        "unseen": (f"{places['unseen']}?reveal=1",),
        **{name: (place, "Show the text") for name, place in places.items() if name != "gone"},
        "gone": (places["gone"],),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, ZOOMED], ids=["wide", "zoomed"])
def test_no_page_has_a_violation_and_none_is_scrolled_to_both_sides(
    desk: Callable[..., Any], scheme: str, size: dict[str, Any]
) -> None:
    found: dict[str, Any] = {}
    with _filled(desk) as (sits, places):
        with sits("", color_scheme=scheme, **size) as stranger:
            stranger.open("/login")
            found["login"] = violations(stranger) + too_wide(stranger)
        with sits("owl", color_scheme=scheme, **size) as owl:
            for name, (place, *pressed) in _states(places).items():
                owl.open(place)
                found[f"{name}, as it comes"] = violations(owl) + too_wide(owl)
                for control in pressed:
                    owl.tab_to(control)
                    owl.press("Enter")
                    found[f"{name}, {control}"] = violations(owl) + too_wide(owl)
            owl.strange = [one for one in owl.strange if "404" not in one]
    assert {name: told for name, told in found.items() if told} == {}
    assert len(found) > 20


@pytest.mark.parametrize("size", [WIDE, ZOOMED], ids=["wide", "zoomed"])
def test_a_page_from_right_to_left_is_mirrored_and_as_narrow(
    desk: Callable[..., Any], size: dict[str, Any]
) -> None:
    with _filled(desk) as (sits, places), sits("owl", **size) as owl:
        for place in ("/queue", "/figures", "/model", places["unseen"], places["turned"]):
            owl.open(place)
            owl.page.evaluate("document.documentElement.dir = 'rtl'")
            assert violations(owl) + too_wide(owl) == [], place
        if size is WIDE:
            text, actions = (owl.page.locator(one).bounding_box()["x"] for one in (".text", ".actions"))
            assert text > actions


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, ZOOMED], ids=["wide", "zoomed"])
def test_the_pages_of_other_roles_and_of_no_login(
    desk: Callable[..., Any], scheme: str, size: dict[str, Any]
) -> None:
    with desk(post("one"), demo=False) as (sits, bench), sits("", color_scheme=scheme, **size) as someone:
        place = f"/cases/{bench.all()[0].case_id}"
        someone.open("/login")
        assert "No way to log in" in someone.text()
        assert violations(someone) + too_wide(someone) == []
        with bench.store.writing() as connection:
            for number in range(150):  # more than a page
                note(
                    connection, "heron", "reviewer", "case answered", f"case {number}", {"action": "x" * 200}
                )
            document = orjson.loads(orjson.dumps(a_summary()))
            TriedPosts.keep_summary(connection, SummaryRecord(experiment="retrained", document=document))
        for role, path in (
            ("auditor", place),
            ("auditor", "/journal"),
            ("auditor", "/journal?of=nobody"),
            ("administrator", "/figures"),
            ("administrator", "/journal"),
            ("policy_editor", "/model"),
            ("lead", "/candidates"),
        ):
            sessions, response = Sessions(bench.store, secure=False), Response()
            sessions.begin(response, role, role)
            value = response.headers["set-cookie"].partition(";")[0].partition("=")[2]
            someone.context.set_extra_http_headers({"cookie": f"__Host-sluicegate-review={value}"})
            someone.open(path)
            assert someone.page.locator("main h1").count() == 1, (role, path)
            assert violations(someone) + too_wide(someone) == [], (role, path)
            assert someone.page.locator("button.first").count() == 0
