"""The shortest path through the desk in a browser: log in, take a case, agree with one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.cases import post

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(120)]


def test_a_case_is_taken_read_and_confirmed_by_keyboard(desk: Callable[..., Any]) -> None:
    with desk(post("one"), post("two")) as (sits, bench), sits() as heron:
        heron.go("n")
        first = heron.page.url
        assert "/cases/" in first
        heron.press("v")
        assert "Some disputed words about" in heron.text("#post")
        heron.go("Enter")
        assert heron.page.url != first
        assert "Decided. Here is the next case." in heron.text()
        (said,) = bench.resolutions()
        assert (said.action, said.severity, said.reviewer) == ("allow", "controversial", "heron")
