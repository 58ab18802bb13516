"""The watch over a candidate that acts: what is a reason to roll it back, and that a good one is left alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.certificate import CertificateTerms
from sluicegate.pipeline.shadow.watch import Watch
from unit.pipeline.shadow.sides import CANDIDATE, compared, side

TERMS = CertificateTerms(max_permissive=0.005, max_shift=0.02)


def watched(count: int, incumbent: str = "allow", candidate: str = "allow", **fields: Any) -> Watch:
    watch = Watch()
    for _ in range(count):
        watch.add(compared(incumbent, candidate, **fields), is_evidence=True)
    return watch


def test_a_candidate_that_says_the_same_gives_no_reason() -> None:
    watch = watched(5000, "block", "block")
    assert watch.reasons(TERMS, share=0.05) == ()
    assert (watch.posts, watch.answered) == (5000, 5000)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "reason"),
    [
        ("block", "allow", "milder on more than 0.50% of the posts: 100 of 100"),
        ("review", "allow", "milder on more than"),
        ("allow", "block", "share of block is up by more than 2.00%: 100 against 0"),
        ("block", "review", "share of block is down by more than"),
        ("allow", "review", "share of review is up by more than"),
        ("review", "block", "share of review is down by more than"),
    ],
)
def test_each_direction_is_a_reason_of_its_own(incumbent: str, candidate: str, reason: str) -> None:
    assert any(reason in one for one in watched(100, incumbent, candidate).reasons(TERMS, share=0.05))


def test_copies_are_no_evidence_and_failures_count_all_the_same() -> None:
    watch = Watch()
    for _ in range(500):
        watch.add(compared("block", "allow"), is_evidence=False)
    assert watch.reasons(TERMS, share=0.05) == ()
    for _ in range(200):
        pair = compared("allow", "review")
        failed = type(pair)(pair.incumbent, side(CANDIDATE, "p", "review", failed=True))
        watch.add(failed, is_evidence=False)
    (reason,) = watch.reasons(TERMS, share=0.05)
    assert reason == "it fails on more than 2.00% of the posts beyond the incumbent: 200 against 0 of 700"


def test_what_the_other_side_lacks_is_neither_agreement_nor_a_reason() -> None:
    watch, pair = Watch(), compared("block", "allow")
    watch.add(type(pair)(pair.incumbent, None), is_evidence=False)
    watch.add(type(pair)(None, pair.candidate), is_evidence=False)
    assert watch == Watch()


def test_a_slow_engine_is_a_reason_where_the_difference_is_its_own() -> None:
    def timed(before: float, after: float, count: int) -> Watch:
        watch = Watch()
        for _ in range(count):
            pair = compared("allow", "allow")
            slow = type(pair)(
                side(post="p", engine_ms=before), side(CANDIDATE, "p", "allow", engine_ms=after)
            )
            watch.add(slow, is_evidence=True)
        return watch

    assert timed(50, 900, 500).reasons(TERMS, share=0.05) == ()  # less than a second more
    assert timed(3_000, 5_500, 500).reasons(TERMS, share=0.05) == ()  # less than twice
    (reason,) = timed(50, 1_200, 500).reasons(TERMS, share=0.05)
    assert reason == "its p99 is slow beside the incumbent's: 500 of 500 answers"


@pytest.mark.parametrize(
    ("counts", "share", "reason"),
    [
        ({"trips": 1}, 0.05, "1 block-volume breakers opened under its policy"),
        ({"incumbent_right": 30}, 0.05, "people find the incumbent right in 30 of 30 posts"),
        ({"overturned": 20, "overturned_incumbent": 30}, 0.05, "20 of 50 overturned"),
        ({"candidate_right": 30}, 0.05, None),
        ({"overturned": 5, "overturned_incumbent": 95}, 0.05, None),
        (
            {"overturned": 20, "overturned_incumbent": 30},
            None,
            None,
        ),  # it acts on all: nothing to compare with
    ],
)
def test_breakers_and_people_give_reasons(
    counts: dict[str, int], share: float | None, reason: str | None
) -> None:
    found = Watch(**counts).reasons(TERMS, share=share)
    assert len(found) == (reason is not None)
    assert reason is None or reason in found[0]


def test_of_good_candidates_hardly_any_is_rolled_back_however_often_one_looks() -> None:
    rng, wrong = random.Random(7), 0
    for _ in range(30):
        watch = Watch()
        for _ in range(1000):
            # At every limit at once, and beyond none.
            kind = rng.random()
            pair = compared(*(("block", "allow") if kind < 0.005 else ("allow", "allow")))
            watch.add(pair, is_evidence=True)
            if watch.posts % 50 == 0 and watch.reasons(TERMS, share=0.05, certified=(3, 1000)):
                wrong += 1
                break
    assert wrong <= 2


def test_three_in_a_hundred_flipped_verdicts_are_found_within_some_hundred_posts() -> None:
    rng, needed = random.Random(3), []
    for _ in range(20):
        watch = Watch()
        while watch.posts % 10 or not watch.reasons(TERMS, share=0.05, certified=(2, 1500)):
            # A tenth of the posts is blocked; a flip makes an allow of a block, and a block of an allow.
            blocked, flipped = rng.random() < 0.1, rng.random() < 0.03
            before, after = ("block" if blocked else "allow"), ("block" if blocked != flipped else "allow")
            watch.add(compared(before, after), is_evidence=True)
        needed.append(watch.posts)
    assert sorted(needed)[10] < 1000
    assert max(needed) < 2500


@given(st.lists(st.integers(0, 50), min_size=16, max_size=16))
def test_counts_are_kept_over_a_restart(counts: list[int]) -> None:
    watch = Watch(*counts)
    assert Watch.restore(watch.document()) == watch
