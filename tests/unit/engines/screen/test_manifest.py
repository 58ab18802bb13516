"""Tables: the surer, the smaller the error; and nothing below the first step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.engines.screen.manifest import ScreenGroup, error_of, spoken
from support.small_screen import GROUP

SHARES = st.floats(0, 1)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    scores = sorted(draw(st.sets(SHARES, max_size=8)))
    errors = sorted(draw(st.sets(SHARES, min_size=len(scores), max_size=len(scores))), reverse=True)
    return tuple(zip(scores, errors, strict=True))


@given(tables(), st.lists(SHARES, min_size=2))
def test_a_higher_score_never_has_a_higher_error(
    steps: tuple[tuple[float, float], ...], scores: list[float]
) -> None:
    group = GROUP.model_copy(update={"safe": steps})
    ScreenGroup.model_validate(group.model_dump())  # a table that a file may hold
    errors = [error_of(group.safe, score) for score in sorted(scores)]
    for lower, higher in pairwise(errors):
        assert lower is None or (higher is not None and higher <= lower)


@given(tables())
def test_a_step_holds_from_its_score_on(steps: tuple[tuple[float, float], ...]) -> None:
    assert [error_of(steps, score) for score, _ in steps] == [error for _, error in steps]
    assert not steps or steps[0][0] == 0 or error_of(steps, steps[0][0] / 2) is None
    assert error_of((), 1.0) is None


@pytest.mark.parametrize(
    "steps", [((0.5, 0.1), (0.6, 0.2)), ((0.5, 0.1), (0.6, 0.1)), ((0.6, 0.1), (0.5, 0.05))]
)
@pytest.mark.parametrize("side", ["safe", "unsafe"])
def test_a_table_that_does_not_fall_is_refused(side: str, steps: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValidationError, match="scores must rise from step to step, and errors fall"):
        ScreenGroup.model_validate(GROUP.model_dump() | {side: steps})


def test_a_tag_stands_for_its_language() -> None:
    assert [spoken(tag) for tag in ("en", "zh-Hant", "EN-us")] == ["en", "zh", "en"]
