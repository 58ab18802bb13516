"""Rates of all posts from samples with known probabilities, and how far a verdict pulls."""

from __future__ import annotations

import math
import random
from statistics import mean

import pytest

from sluicegate.engines.adapt.labels.rates import UNKNOWN, Reviewed, engine_rates, pull, weighted_share


def test_weights_take_back_that_hard_posts_are_drawn_more_often() -> None:
    draw = random.Random(3)
    found = []
    for _ in range(40):
        posts = [
            (hard, draw.random() < (0.5 if hard else 0.02))
            for hard in (draw.random() < 0.1 for _ in range(20_000))
        ]
        drawn = [
            (wrong, 0.2 if hard else 0.02) for hard, wrong in posts if draw.random() < (0.2 if hard else 0.02)
        ]
        found.append(weighted_share((wrong, 1 / probability) for wrong, probability in drawn).share)
    assert mean(found) == pytest.approx(0.1 * 0.5 + 0.9 * 0.02, abs=0.003)


def test_an_interval_holds_the_share_as_often_as_it_says() -> None:
    draw = random.Random(4)
    inside = 0
    for _ in range(400):
        rate = weighted_share((draw.random() < 0.06, 50.0) for _ in range(300))
        inside += rate.low <= 0.06 <= rate.high
    assert 370 <= inside <= 395


def test_unequal_weights_widen_the_interval() -> None:
    even = weighted_share((number % 10 == 0, 1.0) for number in range(200))
    uneven = weighted_share((number % 10 == 0, 20.0 if number < 20 else 1.0) for number in range(200))
    assert uneven.high - uneven.low > even.high - even.low


def reviewed(item: str, found: int, decided: int, *, language: str = "en", blind: bool = True) -> Reviewed:
    return Reviewed(item, found, decided, 0.01, language, blind)


def test_rates_tell_missed_from_overdone_by_language() -> None:
    rows = [
        reviewed("1", 0, 2, language="de"),
        reviewed("2", 2, 2, language="de"),
        reviewed("3", 2, 0),
        reviewed("4", 0, 0),
        reviewed("4", 0, 0),  # a near copy of the one before
    ]
    rates = engine_rates(rows)
    assert [*rates] == ["all", "de", "en"]
    assert (rates["de"].missed.share, rates["de"].missed.decisions) == (0.5, 2)
    assert (rates["en"].overdone.share, rates["en"].overdone.decisions) == (0.5, 2)
    assert rates["all"].wrong.share == 0.5
    assert rates["en"].missed == UNKNOWN


def test_a_verdict_that_pulls_is_seen() -> None:
    draw = random.Random(6)
    rows = [
        reviewed(
            str(number), 2, 2 if draw.random() < (0.7 if number % 2 else 0.9) else 0, blind=bool(number % 2)
        )
        for number in range(1_200)
    ]
    found = pull(rows)
    assert found.low < 0.2 < found.high
    assert found.low > 0.1


def test_without_both_kinds_nothing_is_known_of_the_pull() -> None:
    assert math.isnan(pull([reviewed("1", 0, 0)]).difference)
