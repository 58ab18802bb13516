"""What nobody sees: no character of Unicode's list is missing, and what carries meaning stays."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.forms.invisible import _UNSEEN, hides_something

# Default_Ignorable_Code_Point of Unicode 14.0, DerivedCoreProperties.txt.
IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
VISIBLE_FORMATS = set(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
"""Controls of format (Cf) that stand visibly before a number: Prepended_Concatenation_Mark."""
IGNORABLES = {chr(code) for first, last in IGNORABLE for code in range(first, last + 1)}
FORMATS = {one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(one) == "Cf"}
HARMLESS = set("\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff")
OTHERS = set("\u2028\u2029\u2d7f\ufff9\ufffb\U00013430\U00013442\U00016fe4\U0001d159")


def test_every_character_that_is_ignored_or_only_controls_is_dropped_within_a_word() -> None:
    unseen = (IGNORABLES | FORMATS | OTHERS) - VISIBLE_FORMATS
    assert {one for one in unseen if _UNSEEN.fullmatch(one) is None} == set()
    some = {chr(first) for first, _ in IGNORABLE} | OTHERS
    found = {one: fold(f"ki{one}ll") for one in some}
    assert {
        one for one, form in found.items() if (form.text, form.rules) != ("kill", ("invisible",))
    } == set()


def test_what_is_dropped_and_not_harmless_may_hide_something() -> None:
    dropped = {one for one in map(chr, range(sys.maxunicode + 1)) if _UNSEEN.fullmatch(one)}
    assert {one for one in dropped if not hides_something(one)} == HARMLESS


@pytest.mark.parametrize("selector", ["\ufe0f", "\ufe0e", "\ufe00", "\U000e0100"])
@pytest.mark.parametrize(
    "text",
    ["k1ll", "sh!t", "k.i.l.l", "k•i•l•l", "k|i|l|l", "k~i~l~l", "b@stard", "ⓚⓘⓛⓛ", "k🅾ll", "🅱🅾🅼🅱", "kℹll"],
)
def test_a_selector_after_each_character_switches_no_rule_off(text: str, selector: str) -> None:
    found = fold(selector.join((*text, "")))
    assert found.text == fold(text).text
    assert set(fold(text).rules) <= set(found.rules)


@pytest.mark.parametrize("tie", ["\u200d", "\ufe0f\u200d"])
def test_letters_in_dress_are_no_pictures_that_are_tied(tie: str) -> None:
    assert fold(tie.join("ⓚⓘⓛⓛ")).text == "kill"


def test_a_selector_of_emoji_between_ideographs_tells_no_names_apart() -> None:
    assert fold("杀\ufe0f人").differs
    assert fold("杀\U000e0100\U000e0101人").differs
    assert not fold("葛\U000e0100城").differs


@pytest.mark.parametrize(
    "text",
    [
        "1️⃣ 2️⃣ 10️⃣ #️⃣ *️⃣ 1⃣️",
        "‼️ ⁉️ ©️ ®️ ™️ ℹ️ ↔️ ⤴️ ◽️ 〰️ 〽️ ㊗️ ㊙️ ❤️ ☺︎ ✔️ ▶️",
        "Ⓜ️ 🅰️ 🅱️ 🅾️ 🅿️ 🆎",
        "👩‍❤️‍🔥 🙂‍↔️ 👩🏽‍⚕️ 🏳️‍🌈 🏴‍☠️ 👁️‍🗨️ 🤷‍♂️",
        "\U0001d15f\U0001d173\U0001d15f\U0001d174",
        "\U00013000\U00013431\U00013050 \U0001343c\U00013000\U0001343d",
        "\U0001bc00\U0001bca0\U0001bc01",
        "\u2d4f\u2d7f\u2d4f",
    ],
)
def test_emoji_and_the_controls_of_a_script_beside_it_stay_as_they_are(text: str) -> None:
    assert fold(text).text == unicodedata.normalize("NFC", text)
    assert fold(text).rules == ()


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("k\u0323\u200bi\u0323\u200bl\u0323\u200bl", "ḳịḷl"),
        ("k\u200b\u0323ill", "ḳill"),
        ("\u0915\u093f\u2060\u0932", "\u0915\u093f\u0932"),
    ],
)
def test_a_letter_with_marks_is_inside_a_word(text: str, folded: str) -> None:
    found = fold(text)
    assert (found.text, found.rules, found.differs) == (folded, ("invisible",), True)


@pytest.mark.parametrize("mark", list("\u061c\u200e\u200f\u2066\u2069"))
def test_a_direction_is_meant_only_where_it_changes(mark: str) -> None:
    for word in ("kill", "قتلك"):
        found = fold(mark.join(word) + " שלום")
        assert (found.text, found.rules) == (f"{word} שלום", ("invisible",))
    assert not fold(f"שלום{mark}abc{mark}שלום {mark}5{mark}").differs


def test_a_keycap_is_no_letter_with_a_mark() -> None:
    assert not fold("1️⃣\u200bFirst").differs


def test_a_line_separator_beside_a_blank_is_no_reason_for_a_second_look() -> None:
    assert not fold("First line. \u2028Second line.\n\u2029Third").differs
