"""Forms and near duplicates: what counts as the same text, what as nearly the same, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.decisions import Clusters
from sluicegate.engines.adapt.data.near_duplicates import NearDuplicateIndex
from sluicegate.engines.adapt.data.rows import bare_form, digest, plain_form, shingles
from support.labelled import every, sentence

LONG = (
    "The committee met on Tuesday evening and agreed to plant forty trees along the river before the spring"
)
CHINESE = "昨天晚上图书馆举办了一场关于古代建筑的讲座，来了很多附近的居民和学生"


def are_near(one: str, other: str, similarity: float = 0.7) -> bool:
    near = NearDuplicateIndex(similarity)
    first, second = near.add(one), near.add(other)
    return first == second or list(near.pairs(every)) == [(0, 1)]


@pytest.mark.parametrize("other", ["ＬＩＢＲＡＲＹ　opens", " library\n opens ", "Library\u00a0OPENS"])
def test_the_same_text_is_the_same_whatever_its_width_case_and_spaces(other: str) -> None:
    assert plain_form(other) == plain_form("library opens")


@pytest.mark.parametrize("other", ["library, opens", "librarys opens", "libraryopens"])
def test_another_text_is_another_one(other: str) -> None:
    assert plain_form(other) != plain_form("library opens")


@pytest.mark.parametrize(
    "other",
    ["l.i.b.r.a.r.y opens!!!", "libra\u200bry opens 🎉🎉", "LIBRARY — OPENS", "lib\u2060rary \ufeffopens"],
)
def test_padding_leaves_the_bare_form(other: str) -> None:
    assert bare_form(other) == bare_form("library opens")


def test_a_text_without_letters_keeps_its_form() -> None:
    assert bare_form("🎉🎉") == "🎉🎉" != bare_form("!!")


def test_runs_are_shorter_where_a_character_is_a_word() -> None:
    assert shingles("abcdefg") == {"abcde", "bcdef", "cdefg"}
    assert shingles("图书馆讲座") == {"图书馆", "书馆讲", "馆讲座"}
    assert shingles("ab") == {"ab"}
    assert shingles("") == {""}


def test_no_character_moves_between_the_parts_of_a_digest() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", None), ("abc", ""), ("-", "abc")]
    assert len({digest(*one) for one in parts}) == len(parts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG, LONG.replace("forty", "fifty")),
        (LONG, f"Breaking news: {LONG}"),
        (LONG, LONG.upper() + "!!!"),
        (CHINESE, CHINESE.replace("昨天", "今天")),
        (CHINESE, CHINESE.replace("，", "。。")),
    ],
    ids=["a word", "a prefix", "shouted", "a Chinese word", "punctuation"],
)
def test_a_text_with_little_changed_is_near(one: str, other: str) -> None:
    assert are_near(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG, "The committee met on Tuesday evening and spoke about the budget of the swimming pool"),
        ("yes please", "no thanks"),
        ("good", "food"),
        (CHINESE, "昨天晚上体育馆举行了一场篮球比赛，吸引了许多外地的观众"),
    ],
)
def test_a_text_that_only_begins_alike_is_not(one: str, other: str) -> None:
    assert not are_near(one, other)


def test_a_higher_similarity_finds_fewer() -> None:
    changed = LONG.replace("forty", "fifty")
    assert (are_near(LONG, changed, 0.5), are_near(LONG, changed, 0.95)) == (True, False)
    assert are_near(LONG, LONG + "!", 1.0)


def test_different_sentences_have_no_pairs_and_each_copy_has_its_own() -> None:
    near = NearDuplicateIndex()
    originals = [near.add(f"{sentence(number)} {sentence(number + 501)}") for number in range(300)]
    copies = [near.add(f"{sentence(number)} {sentence(number + 501)} Truly.") for number in range(300)]
    assert originals == list(range(300))
    assert sorted(near.pairs(every)) == sorted(zip(originals, copies, strict=True))


@given(size=st.integers(1, 12), data=st.data())
def test_clusters_are_what_links_reach_in_any_order(size: int, data: st.DataObject) -> None:
    numbers = st.integers(0, size - 1)
    links = data.draw(st.lists(st.tuples(numbers, numbers), max_size=12))
    clusters, again = Clusters(size), Clusters(size)
    for one, other in links:
        clusters.link(one, other)
    for one, other in data.draw(st.permutations(links)):
        again.link(other, one)
    assert [clusters.of(one) for one in range(size)] == [again.of(one) for one in range(size)]
    for one in range(size):
        assert clusters.of(one) == min(_reached(one, links))


def _reached(start: int, links: list[tuple[int, int]]) -> set[int]:
    reached = {start}
    while True:
        more = {end for link in links if reached & set(link) for end in link} - reached
        if not more:
            return reached
        reached |= more
