"""Whatever a text holds: no crash, a bounded form, and folding twice is folding once."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.engines.text.forms import PLAIN, RULES, fold, stretched
from sluicegate.engines.text.forms.folding import GROWTH

HOSTILE_CHARACTERS, MANY_CHARACTERS = 262_144, 32_768
# What others choke on, as long as a post can be; the rest at an eighth of it.
LONGEST = {"a\u0300\u0316", "\u05b0\u0301", "1", "a\u200b", "\u200b", "\u202e", "\u202ea", "a...", "k1", "X"}
PIECES = (
    "a\u0300\u0316", "\u05b0\u0301", "1", "a\u200b", "\u200b", "\u202e", "\u202ea", "a b c ", "k i l l ", "a.", "a...",
    "k1", "k1ll ", "aaab", "亻言", "们們", "аa", "аab ", "👨\u200d", "我_", "我 ", "X", "www.", "https:", "a@", "a$$", "k!l",
    "ﷺ", "اااا", "اـ", "a\ufe0f", "\U000e0061", "𝐤𝐢", "ก\u200b", "\x00", "\ud800", "\u0e34", "ᄀ", "Ｋ",
    "1\ufe0f", "🅱\ufe0f", "k\u00a0i\u2009", "k\u2011i-", "a\tb\u3000", "\u2028", "a\U0001d173", "\U00013000\U00013430", "我\u3000",
)  # fmt: skip
TEXTS = st.lists(
    st.sampled_from([*PIECES, " ", "ill", "5", ".", "-", "*", "e", "ｅ", "е", "\n", "!"]), max_size=30
).map("".join)


@settings(max_examples=400)
@given(TEXTS | st.text(max_size=60))
def test_folding_is_bounded_named_and_done_once(text: str) -> None:
    found = fold(text)
    assert len(found.text) <= GROWTH * len(text)
    assert list(found.rules) == [rule for rule in RULES if rule in found.rules]
    assert found.differs == bool(set(found.rules) - PLAIN)
    assert fold(found.text).text == found.text
    if not found.rules:
        assert found.text == unicodedata.normalize("NFC", text)


@settings(max_examples=400)
@given(TEXTS | st.text("aAkKléкاI5_.w \n", max_size=60))
def test_the_look_for_drawn_out_letters_passes_over_none(text: str) -> None:
    if stretched._THREE.search(text) is None:
        assert stretched._DRAWN.sub(stretched._shorter, text) == text


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_of_one_piece_is_folded(piece: str) -> None:
    characters = HOSTILE_CHARACTERS if piece in LONGEST else MANY_CHARACTERS
    text = (piece * (characters // len(piece) + 1))[:characters]
    assert len(fold(text).text) <= GROWTH * len(text)


def test_ordinary_ascii_text_is_given_back_as_it_came() -> None:
    text = "The bakery on the corner opens at 7 and sells out of rye bread by 9.\n"
    assert fold(text).text is text
