"""Raters: planted errors are found again, a drifted person is named, and a team without one has none."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from sluicegate.engines.adapt.labels.agreement import Vote
from sluicegate.engines.adapt.labels.raters import dawid_skene, likely_errors, rater_agreement

TEAM = tuple(f"reviewer-{number}" for number in range(8))


def voted(
    seed: int, *, items: int = 1_500, errors: dict[str, float], usual: float = 0.05
) -> tuple[list[Vote], dict[str, int]]:
    """Votes of a team with planted errors, and the truth."""
    draw = random.Random(seed)
    votes, truth = [], {}
    for number in range(items):
        item, true = f"item-{number}", draw.choices((0, 1, 2), (0.6, 0.1, 0.3))[0]
        truth[item] = true
        for rater in draw.sample(TEAM, 2 if number % 3 == 0 else 1):
            wrong = draw.random() < errors.get(rater, usual)
            value = draw.choice([one for one in (0, 1, 2) if one != true]) if wrong else true
            votes.append(Vote(item, rater, value))
    return votes, truth


def test_planted_error_rates_are_found_within_two_points_on_average() -> None:
    planted = {"reviewer-1": 0.10, "reviewer-3": 0.25}
    found = [dawid_skene(voted(seed, errors=planted)[0]).error_rates() for seed in range(8)]
    for rater in TEAM:
        assert mean(one[rater] for one in found) == pytest.approx(planted.get(rater, 0.05), abs=0.02)


def test_somebody_who_drifted_is_named_and_nobody_else() -> None:
    for seed in range(5):
        votes, _ = voted(seed, errors={"reviewer-3": 0.35})
        found = rater_agreement(votes, seed=seed)
        assert [one.rater for one in found if one.drifted] == ["reviewer-3"]
        assert found[0].rater == "reviewer-3"


def test_a_team_that_errs_equally_has_nobody_drifted() -> None:
    named = [
        one.rater
        for seed in range(12)
        for one in rater_agreement(voted(seed, items=600, errors={}, usual=0.15)[0], seed=seed)
        if one.drifted
    ]
    assert named == []


def test_little_shared_work_names_nobody() -> None:
    votes, _ = voted(1, items=60, errors={"reviewer-3": 1.0})
    assert not any(one.drifted for one in rater_agreement(votes))


def test_likely_errors_are_errors_more_often_than_not() -> None:
    votes, truth = voted(2, errors={"reviewer-3": 0.35})
    labels = {vote.item: vote.value for vote in votes}
    found = likely_errors(dawid_skene(votes), labels)
    assert len(found) > 20
    assert mean(truth[one.item] != one.label for one in found) > 0.5
    assert [one.probability for one in found] == sorted(one.probability for one in found)


def test_one_vote_is_a_label_that_nobody_is_sure_of() -> None:
    model = dawid_skene([Vote("one", "a", 2)])
    assert model.labels[0].argmax() == 2
    assert model.labels[0][2] < 0.99
