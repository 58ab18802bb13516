"""Tables: the surer, the smaller the error, and nothing below the first step. Posts: those that may be answered at all."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.engines.screen import ScreenAnswer, ScreenGroup, answer_within, is_written_in, scripts, spoken
from sluicegate.engines.screen.answering import error_of, group_of, side_of
from sluicegate.schemas import Post, Scores

SHARES = st.floats(0, 1)
STEPS = ((0.9, 0.1), (0.95, 0.03), (0.97, 0.01))
GROUP = ScreenGroup(
    kind="post", language="en", rows=500, longest=300, scripts=("LATIN",), safe=STEPS, unsafe=STEPS
)
GROUPS = {("post", "en"): GROUP}
FRIENDLY = "what a lovely garden, thank you for the flowers"
HOSTILE = {
    "one character": "a" * 65536,
    "one mark": "\u0301" * 65536,
    "spaces": " \t\n" * 1000,
    "zero width": "\u200b\u200d\ufeff" * 1000,
    "NUL": "\0" * 1000,
    "lone surrogates": "\ud800\udfff" * 1000,
    "noncharacters": "\uffff\U0010ffff" * 1000,
}


def post(**fields: Any) -> Post:
    return Post(**{"id": "p", "text": FRIENDLY, "language": "en", **fields})


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


@pytest.mark.parametrize("tag", ["en", "en-GB", "EN"])
def test_a_post_is_of_the_group_of_its_kind_and_language(tag: str) -> None:
    assert group_of(post(language=tag), GROUPS) is GROUP  # type: ignore[arg-type] # kinds are literals


@pytest.mark.parametrize(
    "fields",
    [
        {"language": None},
        {"language": "de"},
        {"kind": "prompt"},
        {"kind": "response"},
        {"kind": "response", "context": "Hello?"},
        {"context": "Hello?"},
        {"text": FRIENDLY * 10},
        {"text": FRIENDLY + "".join(chr(0xE0000 + ord(one)) for one in "kill")},
        {"text": f"\u202e{FRIENDLY}"},
    ],
)
def test_what_was_not_measured_or_hides_something_is_of_no_group(fields: dict[str, Any]) -> None:
    assert group_of(post(**fields), GROUPS) is None  # type: ignore[arg-type] # as above


def test_scores_are_sure_on_one_side_or_on_none() -> None:
    assert side_of(GROUP, 0.96, 0.01) == ("safe", 0.03)
    assert side_of(GROUP, 0.01, 0.98) == ("unsafe", 0.01)
    assert side_of(GROUP, 0.89, 0.01) is None
    assert side_of(GROUP.model_copy(update={"unsafe": ()}), 0.01, 0.98) is None


def test_an_answer_is_within_a_tolerance_from_its_error_on() -> None:
    answer = ScreenAnswer(Scores(safe=0.98, controversial=0.01, unsafe=0.01), "safe", 0.01)
    assert answer_within(answer, 0.01)
    assert not answer_within(answer, 0.0099)
    assert not answer_within(None, 1.0)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_have_one_script_at_most_and_no_fault(name: str) -> None:
    assert len(scripts(HOSTILE[name])) <= 1


def test_a_group_of_a_file_that_was_written_before_keeps_its_digest() -> None:
    written = GROUP.model_dump() | {"least_known": 1.0}
    assert ScreenGroup.model_validate(written) == GROUP
    assert GROUP.model_dump() == written


def test_the_screen_needs_no_numpy() -> None:
    code = "import sys, sluicegate.engines.screen; print([n for n in ('numpy', 'sklearn', 'safetensors', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_scripts_are_those_of_letters() -> None:
    assert scripts("abc 12 !? 你好 мир 🙂") == {"LATIN", "CJK", "CYRILLIC"}
    assert scripts("12 🙂") == frozenset()


def test_latin_letters_alone_are_no_text_in_another_script() -> None:
    chinese = ("CJK", "LATIN")
    assert is_written_in("iPhone 很好", chinese)
    assert not is_written_in("akan kubunuh kau", chinese)
    assert not is_written_in("1488", chinese)
    assert not is_written_in("1488", ("LATIN",))
    assert not is_written_in("привет", ("LATIN",))
