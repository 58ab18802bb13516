"""Mining: only what k authors share, nothing that stands for a person, nothing that people found safe."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluicegate.pipeline.patterns.mining import TIMES_K, is_copy, mine
from sluicegate.pipeline.patterns.sketch import KEPT, NEEDED, all_checksums, checksums
from unit.pipeline.patterns.circles import NOW, SLOTS, TEMPLATE, K, confirmed, flood, mined, vocabulary


def test_a_flood_of_changed_copies_is_one_cluster() -> None:
    (cluster,) = mined(flood())
    assert (cluster.authors, cluster.copies, cluster.category) == (18, 18, "Scams")
    assert all(is_copy(text, cluster.checksums) for text in flood(20))


def test_two_floods_are_two() -> None:
    other = "I was broke last year and now I earn every single week from home with this simple trick, no work at all"
    found = mine(
        confirmed([*flood(), *[f"{other} {number}" for number in range(15)]]),
        k=K,
        vocabulary=vocabulary(other.lower()),
        harmless=(),
    )
    assert sorted(one.copies for one in found.clusters) == [15, 18]


@pytest.mark.parametrize(("authors", "shared"), [(TIMES_K * K - 1, False), (TIMES_K * K, True)])
def test_fewer_than_three_times_k_authors_share_nothing_however_many_copies_there_are(
    authors: int, shared: bool
) -> None:
    found = mine(confirmed(flood(60), authors=authors), k=K, vocabulary=vocabulary(), harmless=())
    assert bool(found.clusters) is shared
    assert found.few_authors == (not shared)


def test_each_value_is_of_k_authors() -> None:
    texts = flood(TIMES_K * K)
    lonely = [f"{text} and the moon smiles on green hills over there" for text in texts[: K - 1]]
    words = vocabulary("and the moon smiles on green hills over there")
    (cluster,) = mined([*lonely, *texts[K - 1 :]], vocabulary=words)
    for value in cluster.checksums:
        assert sum(value in all_checksums(text) for text in [*lonely, *texts[K - 1 :]]) >= K


@pytest.mark.parametrize("slot", SLOTS)
def test_what_all_copies_share_of_a_person_is_not_shared(slot: str) -> None:
    (cluster,) = mined(flood(30, **{slot: SLOTS[slot]}))
    rest = all_checksums(TEMPLATE.format(**SLOTS | {slot: "\0"}))
    with_slot = all_checksums(TEMPLATE.format(**SLOTS))
    assert not set(cluster.checksums) & (with_slot - rest)
    assert SLOTS[slot] not in cluster.template


def test_what_people_found_safe_is_left_out() -> None:
    harmless = [frozenset(checksums(text, KEPT)) for text in flood()]
    found = mine(confirmed(flood()), k=K, vocabulary=vocabulary(), harmless=harmless)
    assert (found.clusters, found.little_in_common) == ([], 1)


def test_a_safe_text_takes_what_would_match_it_and_no_more() -> None:
    (whole,) = mined(flood())
    first, second, third = whole.checksums[:3]
    harmless = [frozenset((first, second)), frozenset((first, third)), frozenset((second,))]
    (cluster,) = mine(confirmed(flood()), k=K, vocabulary=vocabulary(), harmless=harmless).clusters
    assert set(whole.checksums) - set(cluster.checksums) == {first}
    assert all(len(text & set(cluster.checksums)) < NEEDED for text in harmless)


@pytest.mark.parametrize(
    ("posts", "more", "after", "left"),
    [
        pytest.param(6, 10, False, False, id="six posts from before"),
        pytest.param(5, 10, False, True, id="five may be early copies"),
        pytest.param(6, 6_100, False, True, id="six of more than six thousand are no share of them"),
        pytest.param(6, 10, True, True, id="what comes with the flood is the flood"),
    ],
)
def test_what_was_written_before_the_flood_is_left_out(
    posts: int, more: int, after: bool, left: bool
) -> None:
    (whole,) = mined(flood())
    pair, far = whole.checksums[:NEEDED], (1, 2, 3, 4)
    made_at = NOW + timedelta(hours=1 if after else -1)
    others = [(pair, made_at)] * posts + [(far, NOW - timedelta(hours=1))] * more
    (cluster,) = mine(confirmed(flood()), k=K, vocabulary=vocabulary(), harmless=(), others=others).clusters
    assert (len(set(pair) & set(cluster.checksums)) == NEEDED) is left


def test_short_texts_make_no_pattern() -> None:
    assert mined(["you are all so bad"] * 10) == []


def test_a_house_that_never_saw_its_words_elsewhere_shares_nothing() -> None:
    found = mine(confirmed(flood()), k=K, vocabulary=vocabulary().__class__(K), harmless=())
    assert found.clusters == []


def test_a_template_says_nothing_of_its_slots() -> None:
    (cluster,) = mined(flood(phone=SLOTS["phone"], name=SLOTS["name"]))
    assert "0815" not in cluster.template
    assert "Quarshie" not in cluster.template
    assert checksums(cluster.template, 8)
