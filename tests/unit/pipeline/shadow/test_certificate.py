"""What counts show of a candidate: certified, rejected or open, and why."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.certificate import CertificateTerms, Conclusion, Ruling, conclude
from sluicegate.pipeline.shadow.comparison import Comparison, Outcome
from sluicegate.pipeline.shadow.evidence import posts_needed
from sluicegate.pipeline.shadow.tally import OTHERS, Counted, Dimension, Tally
from unit.pipeline.shadow.sides import CANDIDATE, INCUMBENT, compared, side

TERMS = CertificateTerms(max_permissive=0.02, max_shift=0.05, min_posts=100)
ENOUGH = posts_needed(0, 0.02, 0.05)


def counts(posts: int = 5_000, milder: int = 0, missing: int = 0, **fields: Any) -> Counted:
    outcomes = {
        Outcome.AGREE: posts - milder,
        Outcome.PERMISSIVE: milder,
        Outcome.CANDIDATE_MISSING: missing,
    }
    found = Counted(posts=posts, milder=milder, **fields)
    found.outcomes.update(outcomes)
    return found


def tally(all_posts: Counted | None = None, **languages: Counted) -> Tally:
    found = Tally()
    found.all = all_posts or counts()
    found.strata[Dimension.LANGUAGE] = languages
    return found


def test_a_candidate_that_agrees_is_certified_as_soon_as_it_may_be() -> None:
    assert conclude(tally(counts(ENOUGH - 1)), TERMS).ruling is Ruling.OPEN
    found = conclude(tally(counts(ENOUGH), de=counts(ENOUGH)), TERMS)
    assert found == Conclusion(Ruling.CERTIFIED, (), ("language de",), ())


def test_nothing_is_shown_of_no_posts() -> None:
    found = conclude(Tally(), TERMS)
    assert found.ruling is Ruling.OPEN
    assert found.reasons[0] == "both judged 0.00% of the contents, and have to judge 98.00%"


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (tally(counts(milder=200)), "milder on more than 2.00% of the posts"),
        (tally(counts(more_blocked=500)), "its share of block differs by more than 5.00%"),
        (tally(counts(fewer_reviewed=500)), "its share of review differs by more than 5.00%"),
        (tally(fr=counts(500, milder=40)), "language fr: milder on more than 2.00%"),
    ],
)
def test_a_candidate_that_breaks_a_term_is_rejected(given_: Tally, reason: str) -> None:
    found = conclude(given_, TERMS)
    assert found.ruling is Ruling.REJECTED
    assert reason in found.reasons


@pytest.mark.parametrize(
    ("given_", "said", "reason"),
    [
        (tally(counts(missing=200)), {}, "both judged 96.15% of the contents, and have to judge 98.00%"),
        (tally(), {"unjoined": 200}, "both judged 96.15% of the contents, and have to judge 98.00%"),
        (tally(counts(99)), {}, "99 posts are evidence, and 100 have to be"),
        (tally(counts(milder=100)), {}, "not shown to be milder on less than 2.00% of the posts"),
        (tally(counts(more_blocked=250)), {}, "its share of block may differ by more than 5.00%"),
        (tally(counts(fewer_blocked=250)), {}, "its share of block may differ by more than 5.00%"),
        (tally(fr=counts(120)), {}, "language fr: not shown to be milder on less than 2.00%"),
    ],
)
def test_a_certificate_says_what_it_still_asks_for(given_: Tally, said: dict[str, int], reason: str) -> None:
    found = conclude(given_, TERMS, **said)
    assert found.ruling is Ruling.OPEN
    assert reason in found.reasons


def test_reviewers_who_find_the_incumbent_right_reject_a_candidate() -> None:
    found = conclude(tally(), TERMS, candidate_right=10, incumbent_right=60)
    assert (found.ruling, found.reasons) == (
        Ruling.REJECTED,
        ("reviewers find the incumbent right in 60 of 70",),
    )
    assert conclude(tally(), TERMS, candidate_right=60, incumbent_right=10).ruling is Ruling.CERTIFIED
    assert conclude(tally(), TERMS, candidate_right=10, incumbent_right=12).ruling is Ruling.CERTIFIED


def test_strata_with_few_posts_are_listed_and_not_judged() -> None:
    found = conclude(tally(fr=counts(99, milder=99), **{OTHERS: counts()}), TERMS)
    assert found.shown == (f"language {OTHERS}",)
    assert found.ruling is Ruling.CERTIFIED
    assert found.unjudged == ("language fr",)


def test_what_is_rejected_stays_so_though_few_contents_were_compared() -> None:
    assert conclude(tally(counts(milder=500, missing=5_000)), TERMS).ruling is Ruling.REJECTED


@given(st.integers(0, 3_000), st.integers(0, 60), st.integers(0, 400), st.integers(0, 100))
def test_more_missing_never_makes_a_certificate(posts: int, milder: int, missing: int, more: int) -> None:
    before = conclude(tally(counts(posts, min(milder, posts), missing)), TERMS).ruling
    after = conclude(tally(counts(posts, min(milder, posts), missing + more)), TERMS).ruling
    assert after is before or (before, after) == (Ruling.CERTIFIED, Ruling.OPEN)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_permissive": 0.0},
        {"max_shift": 1.0},
        {"alpha": float("nan")},
        {"min_coverage": 0.0},
        {"min_posts": 0},
    ],
)
def test_impossible_terms_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"usual|give 1 or more"):
        CertificateTerms(**{"max_permissive": 0.01, "max_shift": 0.01} | fields)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="give counts"):
        conclude(tally(), TERMS, unjoined=-1)
    with pytest.raises(ValueError, match="give counts"):
        conclude(tally(), TERMS, candidate_right=-1)


def experiment(rng: random.Random, milder: float, failing: float = 0.0) -> tuple[Ruling, int]:
    """Posts until something is shown, or 4,000 of them: what it is, and how many there were."""
    found = Tally()
    for number in range(1, 4_001):
        post, draw = f"{number}", rng.random()
        if rng.random() < failing:
            found.add(
                Comparison(side(INCUMBENT, post, "block"), side(CANDIDATE, post, "review", failed=True))
            )
        else:
            found.add(compared("block", "review" if draw < milder else "block", post, at=number * 1.0))
        if number % 50 == 0:
            ruling = conclude(found, TERMS).ruling
            if ruling is not Ruling.OPEN:
                return ruling, number
    return Ruling.OPEN, 4_000


@pytest.mark.parametrize(
    ("milder", "failing", "ruling"),
    [(0.002, 0.0, Ruling.CERTIFIED), (0.1, 0.0, Ruling.REJECTED), (0.0, 0.2, Ruling.REJECTED)],
)
def test_good_and_bad_candidates_are_told_apart(milder: float, failing: float, ruling: Ruling) -> None:
    rng = random.Random(8)
    ends = [experiment(rng, milder, failing) for _ in range(10)]
    print(f"milder {milder:.1%}, failing {failing:.0%}: {ends}")
    assert {end[0] for end in ends} == {ruling}
