"""Attacks: what a dictionary gets out of a pattern, with the key and without it."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.patterns.mining import TIMES_K
from sluicegate.pipeline.patterns.risk import advantage, measure_risk
from sluicegate.pipeline.patterns.sketch import LOOKED_UP, NEEDED, all_checksums, checksums, keyed
from unit.pipeline.patterns.circles import (
    CIRCLE,
    SLOTS,
    TEMPLATE,
    K,
    candidates,
    confirmed,
    feed,
    flood,
    vocabulary,
)

VALUE_OF = keyed(CIRCLE.keys[0].value)


def answers(values: tuple[str, ...], text: str) -> frozenset[str]:
    """All that a member with the key sees of a guess: not just the lowest values, but every pair of words."""
    return frozenset(VALUE_OF(one).hex() for one in all_checksums(text)) & set(values)


def test_a_dictionary_of_all_phone_tails_tells_a_member_nothing() -> None:
    (pattern,) = feed(flood(40, phone=SLOTS["phone"])).patterns
    guesses = {
        answers(pattern.values, TEMPLATE.format(**SLOTS | {"phone": f"+49 151 555 {tail:04d}"}))
        for tail in range(10_000)
    }
    assert len(guesses) == 1
    assert len(guesses.pop()) >= NEEDED  # and yet the template itself is known to match


@pytest.mark.parametrize("slot", ["name", "link"])
def test_nor_does_one_of_names_or_links(slot: str) -> None:
    (pattern,) = feed(flood(40, **{slot: SLOTS[slot]})).patterns
    guesses = [
        SLOTS[slot],
        "Anna Schmidt",
        "anna schmidt",
        "Quarshie Thandeka",
        "https://good.example",
        "somebody",
    ]
    seen = {answers(pattern.values, TEMPLATE.format(**SLOTS | {slot: guess})) for guess in guesses}
    assert len(seen) == 1


def test_an_outsider_with_the_parameters_and_the_text_itself_sees_no_match() -> None:
    (pattern,) = feed(flood(40)).patterns
    for key in range(200):  # of 2**256
        value_of = keyed(key.to_bytes(32, "big"))
        assert not {value_of(one).hex() for text in flood(5) for one in all_checksums(text)} & set(
            pattern.values
        )


def test_a_feed_holds_no_word_of_any_post() -> None:
    said = feed(flood(40)).encode().decode().lower()
    words = {word.lower() for text in flood(40) for word in text.split() if len(word) > 3 and word.isalpha()}
    assert [word for word in words if word in said] == []


def test_risk_of_ones_own_data() -> None:
    found = measure_risk(
        confirmed(flood(60, phone=SLOTS["phone"])),
        k=K,
        vocabulary=vocabulary(),
        harmless=(),
        secret=CIRCLE.keys[0].value,
        most=20,
    )
    assert (found.patterns, found.copies, found.personal) == (1, 60, 60)
    assert (found.told, found.outsider) == (0, 0)
    assert found.advantage <= 0.1


def test_a_flood_at_the_limit_gives_its_members_away_and_risk_says_so() -> None:
    found = measure_risk(
        confirmed(flood(TIMES_K * K)), k=K, vocabulary=vocabulary(), harmless=(), secret=CIRCLE.keys[0].value
    )
    assert found.advantage == 1.0  # without any of them there would be no pattern


@pytest.mark.parametrize(
    ("inside", "outside", "gap"),
    [([4, 4], [4, 4], 0.0), ([4, 4], [1, 1], 1.0), ([4, 2], [2, 2], 0.5), ([], [1], 0.0)],
)
def test_the_advantage_is_the_largest_gap(inside: list[int], outside: list[int], gap: float) -> None:
    assert advantage(inside, outside) == gap


def test_candidates_match_what_receivers_look_up() -> None:
    (one,) = candidates(flood(40))
    assert len(set(checksums(flood(1)[0], LOOKED_UP)) & set(one.checksums)) >= NEEDED
