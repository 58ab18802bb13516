"""Masking: what may stand for a person goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.patterns.masking import CommonWords, masked
from sluicegate.pipeline.patterns.sketch import BARRIER, all_checksums


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("call me at +49 151 555 0815 today", ["151", "555", "0815"]),
        ("call me at ٠١٥١٥٥٥ today", ["٠١٥١٥٥٥"]),
        ("write to anna.b@mail.example now", ["anna", "mail", "example"]),
        ("see https://evil.example/x?y=1 or evil.example", ["evil", "https"]),
        ("as @some_body said", ["some_body"]),
        ("dear Wolfgang Abernathy-Smith you won", ["Wolfgang", "Abernathy"]),
        ("my name is thandeka quarshie and I lie", ["thandeka", "quarshie"]),
        ("we all know maria schmidt takes bribes", ["maria", "schmidt"]),
        ("Klaus Meier ist ein Dieb", ["Klaus", "Meier"]),
        ("dial seven one five five now", ["seven", "five"]),
        ("您的验证码是123456请勿泄露", ["123456"]),
        ("联系我wx_abc123吧", ["wx_abc123"]),
    ],
)
def test_what_may_stand_for_a_person_is_masked(text: str, gone: list[str]) -> None:
    left = masked(text)
    assert [one for one in gone if one in left] == []
    assert len(left) == len(text)


def test_everything_else_stays() -> None:
    text = "Your parcel could not be delivered today because the customs fee is still open."
    assert masked(text) == text


@given(st.text())
def test_what_stays_stays_where_it_was(text: str) -> None:
    assert all(one in (BARRIER, before) for one, before in zip(masked(text), text, strict=True))


@given(st.text(alphabet="abc 019+-()", min_size=1))
def test_no_digit_is_left(text: str) -> None:
    assert not any(one.isdigit() for one in masked(text))


def known(text: str, *, authors: int) -> CommonWords:
    words = CommonWords(5)
    for number in range(authors):
        words.add(text, f"a{number}")
    return words


def test_a_word_that_few_authors_write_is_masked() -> None:
    words = known("please pay the fee", authors=5)
    words.add("please pay quarshie the fee", "a9")
    assert words.masked("please pay quarshie the fee") == f"please pay {BARRIER} the fee"


def test_one_author_who_writes_it_often_makes_no_word_common() -> None:
    words = known("please pay", authors=5)
    for _ in range(50):
        words.add("quarshie quarshie", "a1")
    assert BARRIER in words.masked("pay quarshie")


def test_a_word_that_is_only_written_with_a_capital_letter_needs_more_authors() -> None:
    assert known("we met Lilienthal there", authors=19).masked("met Lilienthal") == f"met {BARRIER}"
    assert known("we met Lilienthal there", authors=20).masked("met Lilienthal") == "met Lilienthal"


def test_no_pair_of_words_is_left_around_a_mask() -> None:
    words = known("pay the fee to the shop", authors=5)
    left = all_checksums(words.masked(masked("pay the fee to Quarshie the shop")))
    assert left == all_checksums("pay the fee to") | all_checksums("the shop")
