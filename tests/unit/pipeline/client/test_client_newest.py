"""Of the verdicts on one post the newest counts, in whatever order and however often they come."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.client.consumer import Freshness, Newest
from unit.pipeline.client_fakes import verdict

if TYPE_CHECKING:
    from sluicegate.schemas import Verdict

one_post = st.lists(
    st.builds(
        lambda at, name, revision: verdict(at=at, name=name, revision=revision),
        st.integers(0, 5),
        st.sampled_from("xyz"),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


def act(verdicts: list[Verdict], newest: Newest) -> list[Verdict]:
    """What a consumer acts on."""
    acted = []
    for one in verdicts:
        freshness = newest.freshness(one)
        if freshness is Freshness.NEW:
            acted.append(one)
        if freshness is not Freshness.OUTDATED:
            newest.apply(one)
    return acted


@given(one_post)
def test_what_is_in_force_in_the_end_is_the_newest_of_the_highest_revision(verdicts: list[Verdict]) -> None:
    newest = max(verdicts, key=lambda one: (one.revision, one.judged_at, one.verdict_id))
    assert act(verdicts, Newest(10))[-1].verdict_id == newest.verdict_id


@given(one_post)
def test_what_was_acted_on_is_never_acted_on_again_where_nothing_newer_came(
    verdicts: list[Verdict],
) -> None:
    newest = Newest(10)
    acted = act(verdicts, newest)
    assert act(verdicts, newest) == []
    assert all(before.verdict_id != after.verdict_id for before, after in itertools.pairwise(acted))


def test_a_repeat_with_a_later_time_outdates_what_lies_between() -> None:
    newest = Newest(10)
    acted = act([verdict(at=1, name="x"), verdict(at=3, name="x"), verdict(at=2, name="y")], newest)
    assert [one.judged_at.second for one in acted] == [1]


def test_a_verdict_that_was_overruled_counts_again_if_it_is_judged_again() -> None:
    acted = act([verdict(at=1, name="x"), verdict(at=2, name="y"), verdict(at=3, name="x")], Newest(10))
    assert [one.judged_at.second for one in acted] == [1, 2, 3]


def test_the_same_id_in_two_tenants_is_two_posts() -> None:
    assert len(act([verdict(at=2), verdict(at=1, tenant="other")], Newest(10))) == 2


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(1, 4))
def test_the_memory_never_holds_more_posts_than_it_may(posts: list[str], limit: int) -> None:
    newest = Newest(limit)
    for at, post in enumerate(posts):
        newest.apply(verdict(post, at=at))
        assert len(newest) <= limit
        assert newest.freshness(verdict(post, at=at)) is Freshness.REPEAT


def test_the_post_untouched_for_longest_is_forgotten_first() -> None:
    newest = Newest(2)
    for post in ("a", "b", "a", "c"):
        newest.apply(verdict(post, at=1))
    assert newest.freshness(verdict("a", at=0)) is Freshness.OUTDATED
    assert newest.freshness(verdict("b", at=0)) is Freshness.NEW
