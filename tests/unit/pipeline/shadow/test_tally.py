"""Comparisons counted: outcomes, strata, and of a flood one post an hour."""

from __future__ import annotations

import random
from collections import Counter
from math import log
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.comparison import Comparison, Outcome
from sluicegate.pipeline.shadow.evidence import log_e_below
from sluicegate.pipeline.shadow.tally import NONE, OTHERS, Dimension, Tally
from sluicegate.schemas import Action
from unit.pipeline.shadow.sides import CANDIDATE, INCUMBENT, compared, side

if TYPE_CHECKING:
    from sluicegate.pipeline.shadow.comparison import Side

ACTIONS = st.sampled_from(["allow", "review", "block"])
SIDES = st.none() | st.tuples(ACTIONS, st.booleans())


@given(st.lists(st.tuples(SIDES, SIDES).filter(any), max_size=30))
def test_every_content_has_one_outcome_and_those_that_both_judged_are_covered(
    given_: list[tuple[tuple[str, bool] | None, tuple[str, bool] | None]],
) -> None:
    tally, expected = Tally(), Counter[Outcome]()
    for number, (before, after) in enumerate(given_):
        one = Comparison(
            before and side(INCUMBENT, f"{number}", before[0], failed=before[1]),
            after and side(CANDIDATE, f"{number}", after[0], failed=after[1]),
        )
        expected[one.outcome] += 1
        both_answered = before is not None and after is not None and not before[1]
        assert tally.add(one) is both_answered
    assert tally.all.outcomes == expected
    assert tally.all.contents == len(given_)
    judged = sum(expected[one] for one in (Outcome.AGREE, Outcome.STRICTER, Outcome.PERMISSIVE))
    assert tally.all.coverage == (judged / len(given_) if given_ else 0)
    kinds = tally.strata[Dimension.KIND].values()
    assert sum(one.contents for one in kinds) == len(given_)


def test_a_change_of_actions_is_counted_by_direction() -> None:
    tally = Tally()
    for number, (before, after) in enumerate(
        [("allow", "block"), ("block", "review"), ("block", "allow"), ("review", "allow"), ("block", "block")]
    ):
        tally.add(compared(before, after, f"{number}"))
    counted = tally.all
    assert (counted.posts, counted.milder) == (5, 3)
    assert (counted.more_blocked, counted.fewer_blocked) == (1, 2)
    assert (counted.more_reviewed, counted.fewer_reviewed) == (1, 1)
    assert counted.actions == {
        "allow -> block": 1,
        "block -> review": 1,
        "block -> allow": 1,
        "review -> allow": 1,
    }
    lower, upper = counted.change(Action.BLOCK, 0.05)
    assert lower < -0.2 < upper


def test_posts_are_counted_by_language_category_kind_and_tenant() -> None:
    tally = Tally()
    tally.add(
        compared(
            "block", "allow", "1", language="de-AT", categories=("HATE", "PII"), tenant="a", kind="prompt"
        )
    )
    tally.add(compared("allow", "allow", "2", language=None, tenant="b"))
    found = {dimension: {*strata} for dimension, strata in tally.strata.items()}
    assert found == {
        Dimension.LANGUAGE: {"de", NONE},
        Dimension.CATEGORY: {"HATE", "PII", NONE},
        Dimension.KIND: {"prompt", "post"},
        Dimension.TENANT: {"a", "b"},
    }
    assert tally.strata[Dimension.CATEGORY]["HATE"].milder == 1
    assert tally.strata[Dimension.TENANT]["b"].milder == 0


def test_strata_without_room_are_counted_together() -> None:
    tally = Tally(most_strata=3)
    for number in range(10):
        tally.add(
            compared("allow", "allow", f"{number}", tenant=f"t{number}", categories=("X", f"C{number}"))
        )
    assert {*tally.strata[Dimension.TENANT]} == {"t0", "t1", "t2", OTHERS}
    assert tally.strata[Dimension.TENANT][OTHERS].contents == 7
    assert sum(one.contents for one in tally.strata[Dimension.TENANT].values()) == 10
    assert tally.strata[Dimension.CATEGORY]["X"].contents == 10


def test_of_equal_posts_one_an_hour_is_evidence() -> None:
    tally = Tally()
    added = [
        tally.add(compared("allow", "allow", f"{number}", text="spam", at=number * 600.0))
        for number in range(12)
    ]
    assert added == [True, *[False] * 5] * 2
    assert (tally.all.posts, tally.all.contents, tally.copies) == (2, 12, 10)


def copy_of(first: Side, post: str, text: str) -> Side:
    return side(first.cohort, post, first.action, root=first.verdict_id, text=text)


@pytest.mark.parametrize("near_by", [INCUMBENT, CANDIDATE])
def test_near_duplicates_are_one_cluster_whoever_finds_them(near_by: object) -> None:
    tally = Tally()
    firsts = side(INCUMBENT, "1"), side(CANDIDATE, "1")
    assert tally.add(Comparison(*firsts))
    # A near duplicate, and then one that equals it, and that nobody takes for a copy.
    near = [
        copy_of(first, "2", "spam!") if first.cohort == near_by else side(first.cohort, "2", text="spam!")
        for first in firsts
    ]
    assert not tally.add(Comparison(*near))
    assert not tally.add(compared("allow", "allow", "3", text="spam!"))
    assert (tally.all.posts, tally.copies) == (1, 2)


def test_one_judge_that_agrees_with_itself_is_no_evidence() -> None:
    tally = Tally()
    assert not tally.add(Comparison(side(INCUMBENT), side(INCUMBENT)))
    assert (tally.all.contents, tally.all.posts, tally.same, tally.copies) == (1, 0, 1, 0)


def test_an_hour_that_is_over_or_full_gives_no_evidence() -> None:
    tally = Tally(most_marks=9)
    assert [tally.add(compared("allow", "allow", f"{number}", at=10 * 3600.0)) for number in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    assert not tally.add(compared("allow", "allow", "old", at=7 * 3600.0))
    assert tally.add(compared("allow", "allow", "late", at=8 * 3600.0))
    assert (tally.left_out, tally.copies, tally.all.contents) == (2, 0, 6)


def test_marks_of_clusters_are_kept_for_few_hours() -> None:
    tally = Tally(most_marks=30)
    for number in range(2_000):
        tally.add(compared("allow", "allow", f"{number}", at=number * 100.0))
        assert sum(map(len, tally._hours.values())) <= 90
    assert len(tally._hours) <= 3


def test_a_document_says_the_coverage_before_any_rate() -> None:
    tally = Tally()
    tally.add(compared("block", "allow", "1"))
    tally.add(Comparison(side(INCUMBENT, "2"), None))
    document = tally.document(0.05)
    assert next(iter(document)) == "coverage"
    assert document["coverage"] == 0.5
    assert document["outcomes"]["candidate_missing"] == 1
    assert document["strata"]["language"]["de"]["milder"] == 1
    assert [*document].index("coverage") < [*document].index("milder_share")


def test_floods_of_equal_posts_end_few_experiments_in_a_wrong_certificate() -> None:
    """Each text has one answer, milder with the limit's probability. Some texts come once, and some in floods."""
    rng = random.Random(7)
    limit, alpha, experiments = 0.2, 0.05, 150
    wrong = wrong_by_posts = 0
    for _ in range(experiments):
        tally, wanted = Tally(), log(1 / alpha)
        is_wrong = is_wrong_by_posts = False
        posts = milder = 0
        for text in range(60):
            after = "allow" if rng.random() < limit else "block"
            for copy in range(rng.choice((1, 1, 1, 25))):
                if tally.add(compared("block", after, f"{text} {copy}", text=f"{text}", at=60.0 * text)):
                    is_wrong |= log_e_below(tally.all.milder, tally.all.posts, limit) >= wanted
                posts, milder = posts + 1, milder + (after == "allow")
            is_wrong_by_posts |= log_e_below(milder, posts, limit) >= wanted
        wrong, wrong_by_posts = wrong + is_wrong, wrong_by_posts + is_wrong_by_posts
    print(f"wrong: {wrong / experiments:.1%}; {wrong_by_posts / experiments:.1%} if every post were evidence")
    assert wrong <= alpha * experiments
    assert wrong_by_posts > 3 * alpha * experiments
