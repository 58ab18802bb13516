"""What counts as the same text, and what never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form

PAIRS = sorted((Path(__file__).parents[4] / "benchmarks" / "pairs").glob("*.jsonl"))


def same(one: str, other: str) -> bool:
    first = reduced_form(one)
    return first is not None and first == reduced_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Free tickets for all of you", "Fr\u200bee tic\u2060kets for\ufeff all o\u200cf you"),
        ("Free tickets for all of you!!!!!", "Free tickets for all of you!!!!!!!!!!!!!"),
        ("Soooooo many tickets for you", "Sooooooooooo many tickets for you"),
        ("hahahahahaha what a day it was", "hahahahahahahahahaha what a day it was"),
        ("این کتاب را می\u200cخوانم امروز", "این کتاب را می\u200cخوانم ا\u2060مروز"),
        ("今天大家都去公园，哈哈哈哈哈", "今天大家都\u200b去公园，哈哈哈哈哈哈哈哈"),
        ("Der Verein trifft sich\nam Abend im Hof", "Der Ver\u200bein trifft sich\nam Abend im Hof"),
    ],
)
def test_what_turns_no_meaning_is_taken_away(one: str, other: str) -> None:
    assert one != other
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a number 1 of many things", "a number 2 of many things"),
        ("worth 100000 coins in the game", "worth 10000000 coins in the game"),
        ("worth 10\u200b0 coins in the game", "worth 100 coins in the game"),
        ("worth １００ coins, 今天大家都去公园吧", "worth 100 coins, 今天大家都去公园吧"),
        ("一共一万万万万万万块钱请大家吃饭吧", "一共一万万万万万块钱请大家吃饭吧"),
        ("read gooooooogle.com for more about it", "read goooooogle.com for more about it"),
        ("read 中中中中中中.com for more about it", "read 中中中中中.com for more about it"),
        ("read go\u200bogle.com for more about it", "read google.com for more about it"),
        ("thanks @aaaaaaanna for the lovely cake", "thanks @aaaaaanna for the lovely cake"),
        ("thanks @an\u200bna for the lovely cake", "thanks @anna for the lovely cake"),
        ("the KKK came by this evening", "the KKKK came by this evening"),
        ("a sign of ⚡ for our club here", "a sign of ⚡⚡ for our club here"),
        ("Wir helfen den armen Vögeln", "Wir helfen den armen vögeln"),
        ("my therapist likes this song", "my the rapist likes this song"),
        ("Free tickets for all of you", "Free  tickets for all of you"),
        ("Free tickets for all of you", "Free tickets for all of you "),
        ("今天大家都去看Ｃｉｔｙ的展览", "今天大家都去看City的展览"),
        ("Entradas gratis para todos 😂😂😂😂😂😂", "Entradas gratis para todos 😂😂😂😂😂😂😂"),
        ("I love all of my neighbours", "I love all of my neighbours."),
        ("I will hurt you tomorrow", "I wіll hurt you tomorrow"),
        ("cumple un año mañana en casa", "cumple un ano mañana en casa"),
        ("one line of a poem\nand the next", "one line of a poem and the next"),
        ("a picture XX  XX of many words\nfor you", "a picture XX XX of many words\nfor you"),
    ],
)
def test_what_may_turn_a_meaning_stays(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "my the\u3164rapist likes this song",
        "my the\u2800rapist likes this song",
        "my the\u00adrapist likes this song",
        "my \u202etsipareht likes this song",
        "my therapist likes this song \U000e0041\U000e0042",
        "my therapist likes this song \U000e0101\U000e0110",
        "my therapist\x00 likes this song",
        "my t\u0336h\u0336e\u0336rapist likes this song",
        "ask about അവന്\u200d in the school",
        "████ ██ ████ abcdef ███ ███",
        "kkk",
        "12345678",
        "",
        "padded out with this!" + "!" * 90,
        "all of a long text " * 300,
    ],
)
def test_what_may_hide_something_or_is_no_prose_has_no_reduced_form(text: str) -> None:
    assert reduced_form(text) is None


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_no_pair_with_different_labels_is_the_same(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows
    assert [row for row in rows if same(row["first"], row["second"])] == []


def test_the_pairs_are_many_and_of_many_languages() -> None:
    rows = [json.loads(line) for path in PAIRS for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({(row["first"], row["second"]) for row in rows}) == len(rows) >= 300
    assert len([path for path in PAIRS if len(path.read_text(encoding="utf-8").splitlines()) >= 70]) >= 4
    assert all(row["first_label"] != row["second_label"] for row in rows)


@given(st.text(max_size=60))
def test_a_reduced_form_is_its_own_reduced_form(text: str) -> None:
    reduced = reduced_form("a longer text of words " + text)
    if reduced is not None:
        assert reduced_form(reduced) == reduced


@given(st.text(max_size=40), st.text(min_size=1, max_size=6))
def test_another_word_is_another_text(text: str, word: str) -> None:
    if any(one.isalnum() for one in word):
        assert not same(f"a longer text of words {text}", f"a longer text of words {text} {word}")
