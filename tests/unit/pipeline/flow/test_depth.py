from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.flow.depth import Depth

S, MOST = 64, 4096
answers = st.lists(
    st.tuples(st.floats(0, 100), st.integers(1, 256), st.floats(0, 1e6), st.booleans()), max_size=80
)


def taught(depth: Depth, answered: list[tuple[float, int, float, bool]]) -> Depth:
    now = 0.0
    for gap, prompts, seconds, alone in answered:
        now += gap
        depth.answered(now, prompts, seconds, alone=alone)
    return depth


def steady(per_s: float, seconds: float, *, answers: int = 100, prompts: int = 10) -> Depth:
    depth = Depth(S, MOST)
    for number in range(answers):
        depth.answered(number * prompts / per_s, prompts, seconds, alone=False)
    return depth


@given(answered=answers, in_work=st.integers(0, 10_000), posts=st.integers(1, 512))
def test_whatever_it_has_seen_it_keeps_its_bounds_and_never_starves(
    answered: list[tuple[float, int, float, bool]], in_work: int, posts: int
) -> None:
    depth = taught(Depth(S, MOST), answered)
    assert S <= depth.limit <= MOST
    assert (depth.room(in_work, posts) > 0) == (in_work < depth.limit)
    assert depth.room(0, posts) >= 1
    assert depth.hungry(0)
    sent = depth.room(in_work, posts)
    assert in_work + sent * posts < max(in_work, depth.limit) + posts  # at most a micro-batch beyond


@given(answered=answers, in_work=st.integers(0, 10_000))
def test_who_is_hungry_has_room(answered: list[tuple[float, int, float, bool]], in_work: int) -> None:
    depth = taught(Depth(S, MOST), answered)
    if depth.hungry(in_work) and in_work < depth.limit:
        assert depth.room(in_work, S) > 0


def test_as_many_are_on_their_way_as_come_in_the_time_that_one_takes() -> None:
    assert steady(per_s=300, seconds=0.5).travelling == pytest.approx(150)
    assert steady(per_s=300, seconds=0.5).limit == pytest.approx(S + 300)
    assert steady(per_s=300, seconds=0.0).limit == S


def test_until_two_answers_came_it_keeps_to_what_saturates() -> None:
    depth = Depth(S, MOST)
    assert depth.room(0, S) == 1
    assert not depth.hungry(1)
    depth.answered(1.0, 64, 0.5, alone=True)
    assert depth.limit == S


def test_a_far_engine_gets_more_at_once_and_no_more_than_the_window_holds() -> None:
    assert steady(per_s=300, seconds=0.5).room(0, S) == math.ceil((S + 300) / S)
    assert steady(per_s=30_000, seconds=5).limit == MOST


def test_its_own_queue_does_not_make_it_deeper() -> None:
    depth = steady(per_s=300, seconds=0.01)
    before = depth.limit
    for number in range(1000):
        depth.answered(100 + number / 5, 60, 2.0, alone=False)  # 300 a second, after a long wait
    assert depth.limit == pytest.approx(before, rel=0.05)


def test_an_engine_that_went_farther_is_noticed_when_it_has_nothing_else_to_do() -> None:
    depth = steady(per_s=100, seconds=0.01)
    for number in range(64):
        depth.answered(100 + number, 100, 1.0, alone=True)
    assert depth.travelling == pytest.approx(100, rel=0.01)


def test_after_an_outage_it_begins_anew() -> None:
    depth = steady(per_s=300, seconds=0.5)
    depth.reset()
    assert depth.limit == S


def test_a_window_smaller_than_what_saturates_does_not_take_it_below() -> None:
    assert Depth(S, 10).limit == S


def test_answers_of_one_moment_have_no_rate() -> None:
    depth = Depth(S, MOST)
    depth.answered(1.0, 5, 0.1, alone=True)
    depth.answered(1.0, 5, 0.1, alone=False)
    assert depth.limit == S


def test_company_is_waited_for_no_longer_than_two_answers_take_and_not_at_all_before_the_first() -> None:
    assert Depth(S, MOST).patience_s == 0
    depth = steady(per_s=300, seconds=0.5)
    assert depth.patience_s == pytest.approx(1.0, rel=0.01)
    depth.reset()
    assert depth.patience_s == 0


def test_an_engine_that_works_at_all_calls_together_is_waited_for_a_quarter_as_long() -> None:
    depths = Depth(S, MOST), Depth(S, MOST, continuous=True)
    for depth in depths:
        for answer in range(200):
            depth.answered(answer / 10, 5, 0.4, alone=True)
    assert [depth.patience_s for depth in depths] == [pytest.approx(0.8), pytest.approx(0.2)]


def test_the_tokens_that_fit_into_a_time_are_by_the_fastest_of_the_last_answers() -> None:
    depth = Depth(S, MOST)
    assert depth.tokens_within(10) is None
    depth.answered(1.0, 4, 2.0, alone=True, tokens=800)
    depth.answered(2.0, 4, 8.0, alone=False, tokens=800)  # it waited for others
    depth.answered(2.0, 4, 0.1, alone=False)  # explanations read nothing anew
    assert depth.tokens_within(10) == 4000
    depth.reset()
    assert depth.tokens_within(10) is None
