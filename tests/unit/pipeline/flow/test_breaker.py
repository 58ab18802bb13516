"""The block-volume breaker: what it counts, when it trips, and whose trips it knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.facts import OTHERS, BreakerFact
from sluicegate.pipeline.flow import breaker as module
from sluicegate.pipeline.flow.breaker import SLICES, BlockInterval, Breaker
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy.rules import BlockBreaker

POLICY, NEXT = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANY = BlockBreaker(share=None, count=3, interval_seconds=10.0)


class HandClock(Clock):
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return NOW + timedelta(seconds=self.now)


class Room:
    """A breaker, its clock, and what it announced."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.breaker = Breaker(self.clock, self.metrics)
        self.announced: list[BreakerFact] = []
        self.breaker.announce_to(self.announced.append)

    def admit(
        self,
        *,
        blocked: bool = True,
        tenant: str = "forum",
        limits: BlockBreaker = MANY,
        policy: str = POLICY,
    ) -> bool:
        """True if the post's action stands."""
        return self.breaker.admit(tenant, limits, policy, blocked=blocked) is None

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sluicegate_{name}", labels)


def closed(trip: BreakerFact) -> BreakerFact:
    changes = {"state": "closed", "generation": trip.generation + 1, "by": "ada", "why": "looked at"}
    return trip.model_copy(update=changes)


def test_the_block_that_exceeds_the_count_is_the_first_one_withheld() -> None:
    room = Room()
    assert [room.admit() for _ in range(5)] == [True, True, True, False, False]
    assert [room.admit(blocked=False) for _ in range(3)] == [True] * 3
    (trip,) = room.announced
    assert (trip.state, trip.tenant, trip.policy, trip.generation) == ("open", "forum", POLICY, 0)
    assert trip.why == "4 of 4 posts blocked in 10 s"
    assert trip.at == room.clock.utc()
    assert room.metric("block_breaker_open", tenant="forum") == 1
    assert room.metric("block_breaker_trips_total") == 1


def test_a_share_counts_only_from_the_least_number_of_posts_on() -> None:
    limits = BlockBreaker(share=0.5, least_posts=10)
    room = Room()
    assert all(room.admit(limits=limits) for _ in range(9))
    assert not room.admit(limits=limits)
    room = Room()
    assert all(room.admit(blocked=number % 2 == 1, limits=limits) for number in range(1000))
    assert room.announced == []  # half is not more than half


@pytest.mark.parametrize(
    ("changes", "posts", "blocks", "exceeded"),
    [
        ({}, 1000, 501, True),
        ({}, 1000, 500, False),
        ({}, 999, 999, False),
        ({"share": None}, 10**6, 10**6, False),
        ({"share": None, "count": 0}, 1, 1, True),
        ({"share": None, "count": 0}, 1, 0, False),
        ({"count": 5}, 10, 6, True),
        ({"count": 5}, 10, 5, False),
        ({"share": 1.0}, 5000, 5000, False),
    ],
)
def test_either_limit_suffices_and_null_is_never_reached(
    changes: dict[str, Any], posts: int, blocks: int, exceeded: bool
) -> None:
    assert BlockBreaker(**changes).exceeded(posts=posts, blocks=blocks) is exceeded


def test_blocks_that_are_older_than_the_interval_do_not_count() -> None:
    room = Room()
    for _ in range(20):
        assert room.admit()
        room.clock.now += 4.0
    assert room.announced == []


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=120),
    st.integers(0, 6),
    st.sampled_from([0.7, 1.0, 5.0]),
)
def test_no_interval_lets_more_blocks_through_than_the_count(
    steps: list[tuple[float, bool]], count: int, interval_s: float
) -> None:
    room = Room()
    limits = BlockBreaker(share=None, count=count, interval_seconds=interval_s)
    passed: list[float] = []
    for pause, blocked in steps:
        room.clock.now += pause
        stands = room.admit(blocked=blocked, limits=limits)
        assert stands or blocked  # nothing but a block is ever withheld
        if blocked and stands:
            passed.append(room.clock.now)
            assert sum(one > room.clock.now - interval_s for one in passed) <= count


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=120))
def test_an_interval_counts_what_is_in_it_and_up_to_one_slice_more(steps: list[tuple[float, bool]]) -> None:
    interval = BlockInterval()
    now, seen = 0.0, []
    for pause, blocked in steps:
        now += pause
        seen.append((now, blocked))
        interval.add(now, 10.0, blocked=blocked)
        surely = [one for one in seen if one[0] > now - 10.0]
        at_most = [one for one in seen if one[0] >= now - 10.0 * (1 + 1 / SLICES) - 1e-6]
        assert len(surely) <= interval.posts <= len(at_most)
        assert sum(one[1] for one in surely) <= interval.blocks <= sum(one[1] for one in at_most)


def test_a_clock_that_is_set_back_counts_on() -> None:
    interval = BlockInterval()
    for now in (100.0, 20.0, 101.0):
        interval.add(now, 10.0, blocked=True)
    assert interval.posts == interval.blocks == 3


def test_tenants_and_policies_have_breakers_of_their_own() -> None:
    room = Room()
    while room.admit():
        pass
    assert room.admit(tenant="other")
    assert room.admit(policy=NEXT)  # a newer policy begins closed
    assert room.metric("block_breaker_open", tenant="forum") == 0
    assert not room.admit(policy=POLICY)  # and the older one is as it was
    assert room.metric("block_breaker_open", tenant="forum") == 1


def test_a_reset_lets_blocks_through_and_begins_a_new_interval() -> None:
    room = Room()
    while room.admit():
        pass
    room.breaker.learn([closed(room.announced[0])])
    assert room.metric("block_breaker_open", tenant="forum") == 0
    assert [room.admit() for _ in range(4)] == [True, True, True, False]
    assert [trip.generation for trip in room.announced] == [0, 1]


def test_what_another_worker_tells_withholds_here_too() -> None:
    there, here = Room(), Room()
    while there.admit():
        pass
    here.breaker.use(POLICY)
    here.breaker.learn(there.announced)
    withheld = here.breaker.admit("forum", MANY, POLICY, blocked=True)
    assert withheld == there.announced[0]
    assert here.announced == []
    assert here.metric("block_breaker_trips_total") == 0


def test_a_breaker_that_is_turned_off_counts_nothing_but_keeps_an_open_one_open() -> None:
    off = BlockBreaker(share=None, count=None)
    room = Room()
    assert all(room.admit(limits=off) for _ in range(5000))
    other = Room()
    while other.admit():
        pass
    room.breaker.learn(other.announced)
    assert not room.admit(limits=off)


def test_tenants_beyond_the_room_share_one_breaker_until_others_are_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TENANTS", 2)
    room = Room()
    assert all(room.admit(tenant=tenant) for tenant in ("a", "b", "c", "d", "e"))
    assert not room.admit(tenant="f")  # the fourth block among those without a place
    assert [trip.tenant for trip in room.announced] == [OTHERS]
    assert not room.admit(tenant="c")
    assert room.admit(tenant="a")
    room.clock.now += 12
    assert room.admit(tenant="f")  # a and b have been idle: there is room again
    assert room.breaker.open.keys() == {OTHERS}


def test_tenants_that_share_a_breaker_are_counted_by_intervals_of_one_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TENANTS", 1)
    room = Room()
    room.admit(tenant="first", limits=BlockBreaker(share=None, count=100, interval_seconds=86_400.0))
    short = BlockBreaker(share=None, count=100, interval_seconds=10.0)
    long = BlockBreaker(share=None, count=100, interval_seconds=300.0)
    room.admit(tenant="a", limits=short)
    for _ in range(200):
        room.clock.now += 60
        assert room.admit(tenant="b", limits=long)  # five in its interval
    assert room.admit(tenant="a", limits=short)
    assert room.announced == []
    while room.admit(tenant="c", limits=short):
        pass
    assert [trip.tenant for trip in room.announced] == [OTHERS]
    room.breaker.learn([closed(room.announced[0])])
    assert room.admit(tenant="d", limits=short)  # counts begin anew


def test_invented_tenants_do_not_grow_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TENANTS", 50)
    room = Room()
    for number in range(2000):
        room.admit(tenant=f"invented-{number}")
    assert len(room.breaker._counts[POLICY]) <= 51  # what is bounded is private


def test_a_flood_of_facts_is_refused_and_local_trips_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACTS", 10)
    room = Room()
    other = Room()
    while other.admit():
        pass
    flood = [other.announced[0].model_copy(update={"tenant": f"t{number}"}) for number in range(30)]
    assert room.breaker.learn(flood) == 20
    reset = flood[3].model_copy(update={"state": "closed", "generation": 1})
    assert room.breaker.learn([reset]) == 0
    assert "t3" not in room.breaker.open
    while room.admit():
        pass
    assert [trip.tenant for trip in room.announced] == ["forum"]


def test_a_tombstone_takes_a_trip_back() -> None:
    room = Room()
    while room.admit():
        pass
    room.breaker.forget([b"something else"])
    assert not room.admit()
    room.breaker.forget([room.announced[0].key])
    assert room.admit()


def test_as_many_blocks_as_may_be_trip_nothing_and_one_more_does() -> None:
    by_share = BlockBreaker(share=0.5, least_posts=10, count=None)
    assert [by_share.exceeded(posts=10, blocks=blocks) for blocks in (5, 6)] == [False, True]
    assert not by_share.exceeded(posts=9, blocks=9)
    by_count = BlockBreaker(share=None, count=5)
    assert [by_count.exceeded(posts=5, blocks=blocks) for blocks in (5, 6)] == [False, True]
    either = BlockBreaker(share=0.5, least_posts=10, count=50)
    assert either.exceeded(posts=10, blocks=6)
    assert either.exceeded(posts=1_000, blocks=51)
    assert not either.exceeded(posts=1_000, blocks=50)


def test_a_second_judge_s_blocks_are_counted_apart_and_trip_its_own_breaker_alone() -> None:
    room = Room()
    room.breaker.use(POLICY)
    room.breaker.use_beside(NEXT)
    assert [room.admit(policy=policy) for _ in range(3) for policy in (POLICY, NEXT)] == [True] * 6
    assert not room.admit(policy=NEXT)
    assert room.announced[0].policy == NEXT
    assert room.metric("block_breaker_open", tenant="forum") == 1
    room.breaker.use("sha256:" + "c" * 64)  # another incumbent: the candidate's stays open
    assert room.breaker.open.keys() == {"forum"}
    assert not room.admit(policy=NEXT)
    assert room.admit(policy="sha256:" + "c" * 64)
