"""Who was right: from the person's action and both recorded ones, each post once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.records import ComparedPost
from sluicegate.pipeline.shadow.reviews import Reviews, RightJudge, right_of
from sluicegate.pipeline.shadow.summary import ReviewCounts
from sluicegate.schemas import Action, Authority, Basis, Post, Resolution, ResolutionCause
from unit.pipeline.client_fakes import verdict_on

A, R, B = Action.ALLOW, Action.REVIEW, Action.BLOCK
POST = Post(id="p", text="some words")
VERDICT = verdict_on(POST)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def compared_post(**changes: Any) -> ComparedPost:
    """The incumbent blocked the post, and the candidate would have let it pass."""
    values: dict[str, Any] = {
        "experiment": "retrained",
        "tenant": VERDICT.tenant,
        "post_id": VERDICT.post_id,
        "revision": VERDICT.revision,
        "content_hash": VERDICT.content_hash,
        "incumbent": B,
        "candidate": A,
        "verdict_id": VERDICT.verdict_id,
        "probability": 1.0,
    }
    return ComparedPost(**values | changes)


def decided(action: str = "block", *, at: float = 0.0, **changes: Any) -> Resolution:
    """A person's decision about the post, who saw the text alone."""
    same = ("verdict_id", "post_id", "revision", "tenant", "kind", "content_hash")
    values: dict[str, Any] = {
        "action": Action(action),
        "disposition": "none",
        "severity": "unsafe",
        "authority": Authority.REVIEWER,
        "reviewer": "heron",
        "role": "reviewer",
        "basis": Basis.SINGLE,
        "cause": ResolutionCause.REVIEW,
        "seen": ("text",),
        "decided_at": NOON + timedelta(seconds=at),
        "resolution_id": f"{action} {at}",
        "verdict_judged_at": VERDICT.judged_at,
    }
    return Resolution(**{name: getattr(VERDICT, name) for name in same} | values | changes)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "person", "right"),
    [
        (B, A, B, RightJudge.INCUMBENT),
        (B, A, A, RightJudge.CANDIDATE),
        (A, B, B, RightJudge.CANDIDATE),
        (R, B, B, RightJudge.CANDIDATE),
        (R, A, A, RightJudge.CANDIDATE),
        # The review did not let it pass, and the allow would have.
        (R, A, B, RightJudge.INCUMBENT),
        (R, B, A, RightJudge.INCUMBENT),
        (A, B, R, RightJudge.NEITHER),
        (A, A, A, RightJudge.BOTH),
        (A, A, B, RightJudge.NEITHER),
        (R, R, B, RightJudge.NEITHER),
    ],
)
def test_the_one_is_right_whose_action_is_nearer(
    incumbent: Action, candidate: Action, person: Action, right: RightJudge
) -> None:
    assert right_of(incumbent, candidate, person) is right


@given(st.sampled_from(Action), st.sampled_from(Action), st.sampled_from(Action))
def test_to_change_the_sides_changes_who_was_right(one: Action, other: Action, person: Action) -> None:
    changed = {RightJudge.CANDIDATE: RightJudge.INCUMBENT, RightJudge.INCUMBENT: RightJudge.CANDIDATE}
    found = right_of(one, other, person)
    assert right_of(other, one, person) is changed.get(found, found)
    assert (found in changed) <= (one is not other)


def test_a_blind_decision_counts_once() -> None:
    reviews = Reviews()
    reviews.ask(compared_post())
    assert reviews.waiting == 1
    assert reviews.take(decided("allow")) is RightJudge.CANDIDATE
    assert reviews.take(decided("allow")) is None
    reviews.ask(compared_post())
    assert (reviews.counts, reviews.waiting) == (ReviewCounts(candidate_right=1), 0)


def test_what_says_nothing_of_the_two_does_not_count() -> None:
    reviews = Reviews()
    assert reviews.take(decided()) is None  # nobody was asked
    reviews.ask(compared_post())
    assert reviews.take(decided(seen=("text", "verdict"))) is None
    assert reviews.take(decided(basis=Basis.BULK)) is None
    assert reviews.take(decided(revision=5)) is None
    assert (reviews.counts, reviews.waiting) == (ReviewCounts(), 1)


def test_of_a_post_the_highest_authority_counts_whatever_comes_first() -> None:
    lead = decided("allow", authority=Authority.ADJUDICATOR, basis=Basis.ADJUDICATED)
    later = decided("block", at=5.0)
    for order in ((lead, later), (later, lead)):
        reviews = Reviews()
        reviews.ask(compared_post())
        for one in order:
            reviews.take(one)
        assert reviews.counts == ReviewCounts(candidate_right=1)


def test_a_case_that_was_reopened_waits_again_and_the_withdrawn_decision_stays_so() -> None:
    reviews = Reviews()
    reviews.ask(compared_post())
    reviews.take(decided("allow"))
    reviews.take(
        decided("review", at=5.0, authority=Authority.MACHINE, cause=ResolutionCause.REOPENED, severity=None)
    )
    assert (reviews.counts, reviews.waiting) == (ReviewCounts(), 1)
    reviews.take(decided("allow"))  # the topic is read again
    assert reviews.counts == ReviewCounts()
    reviews.take(decided("block", at=9.0))
    assert reviews.counts == ReviewCounts(incumbent_right=1)


def test_no_more_is_kept_than_there_is_room_and_counts_stay() -> None:
    reviews = Reviews(most=2)
    reviews.ask(compared_post())
    reviews.take(decided("allow"))
    for number in range(4):
        reviews.ask(compared_post(post_id=f"other {number}"))
    assert (reviews.waiting, reviews.unasked) == (2, 2)
    assert reviews.counts == ReviewCounts(candidate_right=1)


def test_reviews_go_on_after_a_restart() -> None:
    reviews = Reviews()
    reviews.ask(compared_post())
    reviews.ask(compared_post(post_id="q"))
    reviews.take(decided("allow"))
    again = Reviews.restore(orjson.loads(orjson.dumps(reviews.document())))
    assert (again.counts, again.waiting) == (reviews.counts, reviews.waiting)
    assert again.take(decided("allow")) is None
    assert again.document() == orjson.loads(orjson.dumps(reviews.document()))
