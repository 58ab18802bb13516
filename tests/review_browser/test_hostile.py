"""Hostile posts in a browser: nothing runs, nothing is asked of anybody, nothing is complained of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.cases import judged, post
from support.hostile_posts import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chromium, pytest.mark.review_test, pytest.mark.timeout(280)]


def test_no_hostile_post_has_an_effect(desk: Callable[..., Any]) -> None:
    plain = post("plain", "Nothing but words")
    with desk(plain) as (sits, bench), sits() as heron:
        place = f"/cases/{bench.all()[0].case_id}"
        heron.open(place)
        controls = (
            "element => element.querySelectorAll('main button, main input, main select, main form').length"
        )
        root = heron.page.locator("html")
        shape = root.evaluate(controls)
        for number, text in enumerate(HOSTILE):
            hostile = post(f"h{number}", text)
            bench.take(hostile, judged(hostile, reason=text[:400]))
        for case in bench.all():
            heron.open(f"/cases/{case.case_id}")
            heron.press("v")
            assert heron.page.locator("details.veil[open]").count() == 1
            wanted = bench.verdict(case.case_id).post_id
            assert root.evaluate(controls) == shape, wanted
            assert heron.page.locator("#post *:not(bdi)").count() == 0, wanted
            assert heron.page.url.startswith(f"{heron.address}/cases/{case.case_id}"), wanted
            sizes = heron.page.evaluate(
                "() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
            )
            assert sizes[0] <= sizes[1], wanted
        assert len(bench.all()) > 40
        heron.open("/queue")


def test_no_inline_code_and_no_foreign_file_is_let_in(desk: Callable[..., Any]) -> None:
    """The policy itself holds: what a page might be made to contain would not run."""
    with desk(post("one")) as (sits, _), sits() as heron:
        heron.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "document.title = 'taken'";
                document.head.append(script);
                document.body.insertAdjacentHTML("beforeend",
                    "<img src='http://evil.example/x' onerror=\\"document.title = 'taken'\\"><p style='color:red' id=styled>x</p>");
            }"""
        )
        assert heron.page.title() != "taken"
        refused = "Content Security Policy"
        assert any(refused in one for one in heron.strange)
        heron.strange = [one for one in heron.strange if refused not in one and "evil.example" not in one]
