"""Foreign text on a terminal."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.text import masked, neutral, neutral_json

ACTING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
EVERYTHING = st.text(st.characters(), max_size=200)  # surrogates, too


@given(EVERYTHING)
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    assert not {unicodedata.category(one) for one in neutral(text)} & ACTING
    assert not {unicodedata.category(one) for one in masked(text)} & ACTING


@given(EVERYTHING, st.integers(1, 50))
def test_a_shown_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(neutral(text, limit)) <= limit


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=100))
def test_harmless_text_is_shown_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_an_escape_sequence_is_shown_by_its_numbers() -> None:
    assert neutral("\x1b[2Jhidden\u202e") == "\\x1b[2Jhidden\\u202e"


@given(st.dictionaries(EVERYTHING, EVERYTHING, max_size=4))
def test_neutral_json_is_the_same_document_and_acts_on_no_terminal(document: dict[str, str]) -> None:
    shown = neutral_json(json.dumps(document, ensure_ascii=False))
    assert json.loads(shown) == json.loads(json.dumps(document))
    assert not {unicodedata.category(one) for one in shown} & ACTING


def test_a_masked_text_shows_two_characters_and_its_length_and_a_short_one_none() -> None:
    assert masked("a long secret") == "a ··· 13"
    assert masked("fool") == "··· 4"


@given(st.text(st.characters(categories=["L"]), min_size=5, max_size=60))
def test_the_rest_of_a_masked_text_cannot_be_told(text: str) -> None:
    assert masked(text) == masked(text[:2] + "x" * (len(text) - 2))
