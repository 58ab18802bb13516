"""Passages: found wherever they stand, only in long texts, and three at most."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.text.passage_weights import located, plain
from sluicegate.engines.text.passages import TIMES, Passages, _least_unsafe, repeated, width

INSULT = "You are a stupid worthless bitch and I will kill you."
HARMLESS = (
    "The bakery on the corner opens at seven and sells out of rye bread by nine.",
    "We planted tomatoes in April and the first ones were ripe in the second week of July.",
    "The recipe asks for two eggs, a cup of flour and a little patience.",
    "After the storm the river was high but the bridge stayed open.",
)


@pytest.fixture(scope="module")
def passages() -> Passages:
    return Passages.shipped()


def read(text: str, passages: Passages) -> str | None:
    found = passages.riskiest(text)
    return text[found[0].start : found[0].end] if found else None


@pytest.mark.parametrize("place", range(len(HARMLESS) + 1))
@pytest.mark.parametrize("between", [" ", "\n", "\n\n\n\n"])
def test_a_sentence_is_found_wherever_it_stands(place: int, between: str, passages: Passages) -> None:
    text = between.join([*HARMLESS[:place], INSULT, *HARMLESS[place:]])
    assert read(text, passages) == INSULT


def test_a_harmless_text_has_none(passages: Passages) -> None:
    calm = "The choir meets on Tuesday in the hall behind the church."
    text = " ".join([HARMLESS[1], calm, HARMLESS[3]])
    assert width(text) > 200
    assert read(text, passages) is None


def test_a_short_text_has_none_whatever_it_says(passages: Passages) -> None:
    assert read(INSULT + " " + HARMLESS[0], passages) is None
    assert read("", passages) is None


def test_where_the_riskiest_is_nearly_all_the_text_the_text_itself_is_enough(passages: Passages) -> None:
    text = ", ".join(["You are a stupid worthless bitch"] * 5) + " and so on and on, as I told you every day."
    assert width(text) > 200
    assert read(text, passages) is None


@pytest.mark.parametrize("word", ["and ", "hello ", "the weather is nice today. ", "然后"])
def test_of_a_flood_the_rest_is_read_however_harmless_it_looks(word: str, passages: Passages) -> None:
    rest = "see you at the station at nine"
    assert read(f"{word * 200}{rest} {word * 200}", passages) == rest


def test_the_second_passage_is_read_as_well_as_the_first(passages: Passages) -> None:
    other = "Fuck you, you ugly fucking pig."
    text = " ".join([HARMLESS[0], INSULT, *HARMLESS[1:3], other, HARMLESS[3]])
    assert {text[one.start : one.end] for one in passages.riskiest(text)} >= {INSULT, other}


def test_the_surer_the_screen_the_less_the_model_has_to_find() -> None:
    assert [_least_unsafe("abc", risk) for risk in (0.45, 0.95, 1.0)] == pytest.approx([0.25, 0.0, 0.0])
    assert [_least_unsafe("你好", risk) for risk in (0.45, 0.75, 1.0)] == pytest.approx([0.6, 0.0, 0.0])


def test_a_harmful_sentence_that_is_repeated_is_read_once(passages: Passages) -> None:
    found = read("kill all women now, " * 9 + " ".join(HARMLESS * 3), passages)
    assert found is not None
    assert found.startswith("kill all women now")
    assert len(found) <= 80


@pytest.mark.parametrize(
    "text",
    [
        "a. " * 20_000,
        "的" * 30_000,
        "ab" * 30_000,
        "\ud800" * 5_000,
        "\n" * 50_000,
        "İ. " * 9_000,
        "\0" * 9_000,
        "x" * 201 + " " * 200_000,
        "x" * 201 + "\t " * 100_000,
    ],
    ids=[
        "sentences",
        "one character",
        "two letters",
        "surrogates",
        "lines",
        "letters that grow",
        "NUL",
        "blanks",
        "tabs",
    ],
)
def test_hostile_texts_have_three_at_most_which_lie_within_and_apart(text: str, passages: Passages) -> None:
    found = sorted(passages.riskiest(text))
    assert len(found) <= 3
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


def test_of_many_candidates_the_worst_is_still_found(passages: Passages) -> None:
    numbered = [f"{sentence[:-1]}, number {number}." for number in range(60) for sentence in HARMLESS]
    text = " ".join([*numbered[:100], INSULT, *numbered[100:]])
    found = read(text, passages)
    assert found is not None
    assert INSULT in found


def test_running_sums_find_in_a_range_what_a_text_of_its_own_has(passages: Passages) -> None:
    text = plain("the quick brown fox jumps over a lazy dog")
    inner = plain("brown fox jumps")
    first = text.index(inner)
    (summed,) = passages._linear.judged_within(text, np.array([first]), np.array([first + len(inner)]))
    (alone,) = passages._linear.judged([inner]).probabilities
    assert summed == pytest.approx(alone, abs=0.02)


def test_features_stand_where_their_characters_stand() -> None:
    families = located(" ab cd ")
    assert [len(family.ids) for family in families] == [6, 5, 4, 3, 2, 1]
    assert (families[4].firsts.tolist(), families[4].ends.tolist()) == ([1, 4], [3, 6])
    assert (families[5].firsts.tolist(), families[5].ends.tolist()) == ([1], [6])


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("", []),
        ("ha" * (TIMES - 1), []),
        ("ha" * TIMES, [(0, 2 * TIMES)]),
        ("well " + "no " * 10 + "yes", [(4, 35)]),
        ("x" * 8 + "12" + "y" * 9, [(0, 8), (10, 19)]),
    ],
)
def test_runs_are_what_comes_often_in_a_row(text: str, runs: list[tuple[int, int]]) -> None:
    assert [(first, min(end, len(text))) for first, end in repeated(text)] == runs


@given(st.text("ab ", max_size=200))
def test_runs_do_not_touch_and_lie_within(text: str) -> None:
    edges = [edge for run in repeated(text) for edge in run]
    assert edges == sorted(set(edges))
    assert all(0 <= edge <= len(text) for edge in edges)
