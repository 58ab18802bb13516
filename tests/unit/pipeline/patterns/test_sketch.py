"""Sketches: a changed copy keeps most of them, another text none, and nobody can compare a guess without the key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.patterns.sketch import (
    BARRIER,
    KEPT,
    LOOKED_UP,
    NEEDED,
    all_checksums,
    checksums,
    common,
    keyed,
    words_of,
)

TEXT = "Your parcel could not be delivered today because the customs fee is still open, please pay at once"


@pytest.mark.parametrize(
    "copy",
    [
        TEXT.upper(),
        TEXT + " 🔥🔥 4711",
        TEXT.replace("today", "2-day"),
        "  ".join(TEXT.split()),
        TEXT.replace(",", " !!"),
        TEXT.replace("please", "kindly"),
        "hi all, " + TEXT,
    ],
)
def test_a_changed_copy_is_found(copy: str) -> None:
    assert common(checksums(copy, LOOKED_UP), checksums(TEXT, KEPT)) >= NEEDED


@pytest.mark.parametrize(
    ("original", "copy"),
    [
        (
            "亲爱的用户您好您的包裹已经到达海关请您尽快支付相关的费用否则将被退回谢谢您的配合与支持",
            "亲爱的用户您好您的包裹9已经到达海关请您尽快支付相关的费用否则将被退回谢谢您的配合",
        ),
        (
            "Уважаемый клиент ваша посылка задержана на таможне пожалуйста оплатите пошлину сегодня",
            "Уважаемый клиент ваша посылка 77 задержана на таможне пожалуйста оплатите пошлину сегодня!!",
        ),
    ],
)
def test_so_is_one_in_a_script_without_blanks_or_without_latin_letters(original: str, copy: str) -> None:
    assert common(checksums(copy, LOOKED_UP), checksums(original, KEPT)) >= NEEDED


def test_another_text_is_not() -> None:
    other = "The customs office opens at eight, and the parcel from my aunt has been there since Monday or so"
    assert common(checksums(other, LOOKED_UP), checksums(TEXT, KEPT)) < NEEDED


@pytest.mark.parametrize("text", ["", "thanks a lot", "see you at eight", "7 8 9 10 11 12"])
def test_a_short_text_has_none(text: str) -> None:
    assert checksums(text, KEPT) == []


@given(st.text(), st.integers(0, 9999), st.integers(0, 9999))
def test_no_digit_changes_anything(text: str, one: int, other: int) -> None:
    assert checksums(f"{text} {one:04d}", KEPT) == checksums(f"{text} {other:04d}", KEPT)


@given(st.text(max_size=200))
def test_any_text_has_sorted_checksums_of_its_own_pairs(text: str) -> None:
    found = checksums(text, KEPT)
    assert found == sorted(found)
    assert len(text) > 500 or set(found) <= all_checksums(text.replace(BARRIER, ""))


def test_no_pair_reaches_over_what_was_masked() -> None:
    masked = f"call {BARRIER} before the shop closes"
    words = words_of("call before")
    assert len(words) == 2
    assert not all_checksums("call before") & all_checksums(masked)


def test_values_of_two_keys_have_nothing_in_common() -> None:
    one, other = keyed(b"1" * 32), keyed(b"2" * 32)
    found = checksums(TEXT, KEPT)
    assert not {one(value) for value in found} & {other(value) for value in found}
    assert one(found[0]) == keyed(b"1" * 32)(found[0])
