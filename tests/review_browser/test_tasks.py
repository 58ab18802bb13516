"""Every task of the desk in a browser, by keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.cases import HERON, MAGPIE, judged, post
from support.desk import until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chromium, pytest.mark.review_test, pytest.mark.timeout(240)]

WITHHELD: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}


def test_an_overturned_case_gets_a_category_and_a_reason(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, bench), sits() as heron:
        heron.go("n")
        for key in ("v", "b", "3", "c"):
            heron.press(key)
        heron.tab_to("Violent")
        heron.press("Space")
        heron.press("r")
        heron.page.keyboard.type("a threat, says s and n")
        heron.go("Enter")
        assert "Nothing waits for you" in heron.text()
        (said,) = bench.resolutions()
        assert (said.action, said.severity, said.categories) == ("block", "unsafe", ("Violent",))
        assert b"a threat, says s and n" in bench.sent("feedback")[0].value


def test_a_skipped_case_and_one_that_is_given_back(desk: Callable[..., Any]) -> None:
    with desk(post("one"), post("two")) as (sits, bench), sits() as heron:
        heron.go("n")
        first = heron.page.url.partition("?")[0]
        heron.go("s")
        assert "Skipped. You will not see it again." in heron.text()
        assert heron.page.url.partition("?")[0] != first
        heron.go("e")
        assert "The case is yours for" in heron.text()
        heron.go("q")
        assert heron.page.url.endswith("/queue")
        assert bench.all()[0].holder is None
        assert bench.sent() == []


def test_a_blind_reader_decides_before_the_verdict_is_sent(desk: Callable[..., Any]) -> None:
    text = post("one")
    with desk(blind_share=1) as (sits, bench):
        bench.take(text, judged(text, categories=["Violent"], reason="the model's own words"))
        with sits() as heron:
            heron.go("n")
            assert "You decide first." in heron.text()
            assert "own words" not in heron.page.content()
            assert heron.page.locator("input:checked").count() == 2
            for key in ("v", "a", "1"):
                heron.press(key)
            heron.go("Enter")
        assert (bench.resolutions()[0].action, bench.resolutions()[0].severity) == ("allow", "safe")


def test_two_readers_disagree_and_a_lead_decides(desk: Callable[..., Any]) -> None:
    with desk(post("one"), double_share=1) as (sits, bench):
        for name, action, severity in (("heron", "a", "1"), ("magpie", "b", "3")):
            with sits(name) as reader:
                reader.go("n")
                assert "What reviewers said" not in reader.text()
                for key in ("v", action, severity):
                    reader.press(key)
                reader.go("Enter")
        assert bench.sent() == []
        with sits("owl") as owl:
            assert "Waiting for a lead: 1" in owl.text()
            owl.go("n")
            assert "heron: Allow · safe" in owl.text()
            assert "magpie: Block · unsafe" in owl.text()
            for key in ("v", "b", "3"):
                owl.press(key)
            owl.go("Enter")
        assert [one.basis for one in bench.resolutions()] == ["adjudicated"]


def test_two_readers_agree(desk: Callable[..., Any]) -> None:
    with desk(post("one"), double_share=1) as (sits, bench):
        for name in ("heron", "magpie"):
            with sits(name) as reader:
                reader.go("n")
                for key in ("v", "a", "1"):
                    reader.press(key)
                reader.go("Enter")
        assert [one.basis for one in bench.resolutions()] == ["double"]


def test_a_lead_lifts_a_flood_after_a_sample(desk: Callable[..., Any]) -> None:
    texts = [post(f"flood {number}") for number in range(5)]
    with desk(lift_sample=2) as (sits, bench):
        for text in texts:
            bench.take(text, judged(text, breaker=WITHHELD))
        for case in bench.all()[:2]:
            bench.answer(case.case_id, HERON, "allow")
        with sits("owl") as owl:
            owl.tab_to("Decide all other breaker cases of default like their sample: Allow")
            owl.go("Enter")
            assert "The breaker cases were decided like their sample." in owl.text()
        assert bench.all() == []


def test_a_lead_reopens_a_case_and_makes_one_golden(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, bench):
        case_id = bench.all()[0].case_id
        bench.answer(case_id)
        with sits("owl") as owl:
            owl.open(f"/cases/{case_id}")
            owl.tab_to("Make this the known answer")
            owl.go("Enter")
            assert bench.case(case_id).golden
        bench.take(post("two"), judged(post("two")))
        other = bench.all()[0].case_id
        bench.answer(other)
        with sits("owl") as owl:
            owl.open(f"/cases/{other}")
            owl.tab_to("Reopen for a new decision")
            owl.go("Enter")
        assert bench.case(other).state == "open"


def test_letters_do_nothing_once_they_are_switched_off(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, bench), sits() as heron:
        heron.tab_to("Preferences")
        heron.press("Enter")
        heron.tab_to("Single letters act")
        heron.press("Space")
        heron.tab_to("Save")
        heron.go("Enter")
        assert heron.page.locator("kbd").count() == 0
        heron.press("n")
        heron.tab_to("Next case")
        heron.go("Enter")
        for key in ("b", "s", "q", "v"):
            heron.press(key)
        heron.tab_to("Show the text")
        heron.press("Enter")
        heron.tab_to("Confirm")
        heron.go("Enter")
        assert [one.action for one in bench.resolutions()] == ["allow"]


def test_the_language_is_chosen_and_the_page_stays(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, _), sits() as heron:
        heron.go("n")
        place = heron.page.url.partition("?")[0]
        heron.tab_to("Preferences")
        heron.press("Enter")
        heron.tab_to("Language")
        heron.press("ArrowDown")
        heron.tab_to("Save")
        heron.go("Enter")
        assert heron.page.url.partition("?")[0] == place
        assert heron.page.get_attribute("html", "lang") == "zh"
        assert "证据" in heron.text()
        heron.open("/cases/00000000-0000-0000-0000-000000000000")
        assert heron.page.get_attribute("html", "lang") == "zh"
        heron.strange = [one for one in heron.strange if "404" not in one]


def test_a_veil_and_a_warning_by_category_come_before_the_text(desk: Callable[..., Any]) -> None:
    turned = post("one", kind="response", context="a question before it")
    with desk() as (sits, bench):
        bench.take(turned, judged(turned, categories=["Violent", "Self-Harm"]))
        with sits() as heron:
            heron.go("n")
            shown = heron.text()
            assert "The machine found: Violent, Self-Harm" in shown
            assert "Some disputed words" not in shown
            assert "a question before it" not in shown
            heron.press("Enter")
            assert "Some disputed words" in heron.text()
            assert bench.sent() == [], "the first press showed the text"
            heron.go("Enter")
        assert len(bench.sent()) == 1


def test_a_key_that_is_held_or_pressed_twice_decides_one_case(desk: Callable[..., Any]) -> None:
    with desk(*(post(f"p{number}") for number in range(4))) as (sits, bench), sits() as heron:
        heron.go("n")
        heron.press("v")
        with heron.page.expect_navigation():
            heron.page.keyboard.down("Enter")
        heron.page.keyboard.down("Enter")  # the system repeats it
        heron.page.keyboard.down("Enter")
        heron.settled()
        heron.page.keyboard.down("Enter")
        heron.page.keyboard.up("Enter")
        assert heron.page.locator("details.veil[open]").count() == 0
        assert len(bench.sent()) == 1


def test_who_lost_the_race_keeps_what_was_typed(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, bench), sits() as heron:
        heron.go("n")
        case_id = bench.all()[0].case_id
        with bench.store.writing() as connection:
            bench.queue.release(connection, case_id, HERON)
        bench.answer(case_id, MAGPIE)
        for key in ("v", "b", "3", "r"):
            heron.press(key)
        heron.page.keyboard.type("typed long")
        heron.go("Enter")
        assert "Somebody else has decided the case meanwhile." in heron.text()
        assert heron.page.input_value("input[name=reason]") == "typed long"
        heron.strange = [one for one in heron.strange if "409" not in one]


def test_a_part_of_the_queue_is_kept_over_a_decision(desk: Callable[..., Any]) -> None:
    posts = [post(f"p{number}", language=("de", "en")[number % 2]) for number in range(6)]
    with desk(*posts) as (sits, bench), sits() as heron:
        heron.tab_to("default de")
        heron.go("Enter")
        heron.go("n")
        for _ in range(2):
            heron.press("v")
            heron.go("Enter")
            assert "language=de" in heron.page.url
        heron.go("s")
        assert "language=de" in heron.page.url
        assert {one.language for one in bench.all("decided")} == {"de"}


def test_after_many_hard_texts_a_pause_comes(desk: Callable[..., Any]) -> None:
    with desk(post("one"), post("two"), exposure_cap=1) as (sits, _), sits() as heron:
        heron.go("n")
        for key in ("v", "b", "3"):
            heron.press(key)
        heron.go("Enter")
        assert "Take a pause" in heron.text()
        assert "within the last hour: 1 (a pause comes at 1)" in heron.text()


def test_counts_follow_what_happens_and_end_with_the_session(desk: Callable[..., Any]) -> None:
    with desk(post("one")) as (sits, bench), sits() as heron:
        heron.page.wait_for_selector("[data-count=open]:text-is('1')")
        bench.take(post("two"), judged(post("two")))
        heron.page.wait_for_selector("[data-count=open]:text-is('2')")
        other = heron.context.new_page()
        heron.strange = [one for one in heron.strange if not one.startswith("opened")]
        other.goto("/queue")
        other.get_by_role("button", name="Log out").press("Enter")
        other.wait_for_url("**/login")
        reply = heron.context.request.get("/queue/counts")
        assert reply.text() == "event: ended\ndata:\n\n"


def test_every_step_works_without_a_script(desk: Callable[..., Any]) -> None:
    with desk(post("one"), post("two")) as (sits, bench), sits(java_script_enabled=False) as heron:
        heron.tab_to("Next case")
        heron.go("Enter")
        heron.tab_to("Show the text")
        heron.press("Enter")
        heron.tab_to("Confirm")
        heron.go("Enter")
        heron.tab_to("Skip")
        assert "Decided." in heron.text()
        assert len(bench.sent()) == 1


def test_figures_are_reached_by_keyboard_and_by_leads_alone(desk: Callable[..., Any]) -> None:
    with desk(post("one"), post("two")) as (sits, bench):
        bench.answer(bench.all()[0].case_id, HERON, "block")
        with sits("owl") as owl:
            owl.tab_to("Figures")
            owl.go("Enter")
            assert "Decisions an hour" in owl.text()
            owl.tab_to("Model")
            owl.go("Enter")
            until("the count of the decision", lambda: _again(owl, "1 / 1"))
        with sits("heron") as heron:
            assert "Figures" not in heron.text("body")


def _again(person: Any, wanted: str) -> bool:
    person.open("/model")
    return wanted in person.text()
