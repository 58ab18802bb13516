from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.observe.lag import Lag, ReadPlace
from unit.pipeline.fakes import MemoryDelivery

ONE, TWO = ("posts", 0), ("posts", 1)
EPOCH_MS = 1_700_000_000_000
LOOK_S, FRESH_S = 5, 10
DAY_S = 86_400


@dataclass
class Worker:
    """What a worker sees of its partitions; time is in seconds since its start."""

    lag: Lag = field(default_factory=lambda: Lag(FRESH_S))
    places: dict[tuple[str, int], ReadPlace] = field(default_factory=dict)
    held: dict[tuple[str, int], MemoryDelivery] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lag.assigned([ONE, TWO], 0)

    def look(self, now: float, one: ReadPlace) -> None:
        self.places = {ONE: one, TWO: ReadPlace(0, 0)}
        self.lag.look(self.places, self.held, now)

    def hold(self, offset: int, stamped_at: float | None) -> None:
        stamp = None if stamped_at is None else EPOCH_MS + round(1000 * stamped_at)
        self.held = {ONE: MemoryDelivery(offset, timestamp_ms=stamp)}
        self.lag.took(self.held[ONE])

    def answer(self) -> None:
        self.held = {}

    def seconds(self, now: float) -> float:
        return self.lag.seconds(self.places, self.held, now=now, utc_ms=EPOCH_MS + 1000 * now)


def test_nothing_that_waits_is_no_lag() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(position=7, end=7, handed=7, taken=7))
    assert worker.seconds(9) == 0


def test_what_is_held_is_as_old_as_its_timestamp_says() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(position=0, end=9))
    worker.hold(0, stamped_at=-300)
    assert worker.seconds(6) == 306


@pytest.mark.parametrize("stamped_at", [-8 * DAY_S, -EPOCH_MS / 1000, -1e11])
def test_a_timestamp_from_long_ago_counts_as_seven_days_and_no_more(stamped_at: float) -> None:
    worker = Worker()
    worker.look(5, ReadPlace(position=0, end=9))
    worker.hold(0, stamped_at)
    assert worker.seconds(6) == 7 * DAY_S
    worker.hold(0, stamped_at=6 - 7 * DAY_S)
    assert worker.seconds(6) == 7 * DAY_S
    worker.hold(0, stamped_at=1 - 6 * DAY_S)
    assert worker.seconds(6) == 6 * DAY_S + 5


def test_the_oldest_partition_counts() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(9, 9, handed=9, taken=9))
    worker.held = {
        ONE: MemoryDelivery(9, partition=ONE, timestamp_ms=EPOCH_MS + 8_000),
        TWO: MemoryDelivery(0, partition=TWO, timestamp_ms=EPOCH_MS + 7_000),
    }
    assert worker.seconds(9) == 2


@pytest.mark.parametrize(
    "waiting",
    [ReadPlace(position=9, end=10, handed=9, taken=9), ReadPlace(position=10, end=10, handed=10, taken=9)],
    ids=["on the topic", "in the buffer"],
)
def test_what_is_not_taken_is_no_older_than_the_record_before_it(waiting: ReadPlace) -> None:
    worker = Worker()
    worker.look(5, ReadPlace(position=8, end=12))
    worker.hold(8, stamped_at=-60)
    worker.answer()
    worker.look(10, waiting)
    assert worker.seconds(11) == 71


def test_a_backlog_that_nothing_is_taken_of_counts_from_the_first_look() -> None:
    worker = Worker()
    for now in (5, 10, 15, 20):
        worker.look(now, ReadPlace(position=3, end=50))
    assert worker.seconds(22) == 17


def test_a_position_that_is_not_known_yet_is_no_zero() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(position=None, end=50))
    assert worker.seconds(40) == 35


def test_a_stalled_worker_never_says_zero_whatever_the_timestamps() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(7, 7, handed=7, taken=7))
    worker.hold(7, stamped_at=1_000_000)  # of a producer whose clock is ahead
    worker.look(10, ReadPlace(8, 8, handed=8, taken=8))
    worker.look(15, ReadPlace(8, 90, handed=8, taken=8))
    assert worker.seconds(610) == 600
    worker.answer()  # and takes no more
    assert worker.seconds(610) == 595


@pytest.mark.parametrize("stamped_at", [-1_700_000_000, None], ids=["1970", "none"])
def test_a_wrong_timestamp_makes_no_post_older_than_the_look_that_did_not_see_it(
    stamped_at: float | None,
) -> None:
    worker = Worker()
    worker.look(5, ReadPlace(7, 7, handed=7, taken=7))
    worker.hold(7, stamped_at)
    assert worker.seconds(8) <= 3
    worker.look(10, ReadPlace(8, 90, handed=8, taken=8))
    assert 20 <= worker.seconds(30) <= 25


def test_what_stands_on_a_log_made_anew_counts_from_its_first_look() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(900, 900, handed=900, taken=900))
    worker.hold(899, stamped_at=-7_200)
    worker.answer()
    worker.look(10, ReadPlace(900, 900, handed=900, taken=900))
    worker.look(7_210, ReadPlace(0, 3, handed=900, taken=900))
    assert worker.seconds(7_212) == 2  # of the log before it, nothing is told
    worker.look(7_215, ReadPlace(0, 3, handed=900, taken=900))
    assert worker.seconds(7_217) == 7
    worker.look(7_220, ReadPlace(3, 3, handed=3, taken=3))
    assert worker.seconds(7_222) == 0
    worker.hold(3, stamped_at=7_221)
    assert worker.seconds(7_222) == 1


def test_what_is_left_of_a_log_that_was_cut_is_no_older_than_the_record_before_it() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(8, 12, handed=8, taken=8))
    worker.hold(8, stamped_at=-60)
    worker.answer()
    worker.look(10, ReadPlace(9, 11, handed=9, taken=9))
    assert worker.seconds(11) == 71


@pytest.mark.parametrize("stamped_at", [0, 1_000_000])
def test_a_post_of_a_log_that_is_no_more_hides_no_stall(stamped_at: float) -> None:
    worker = Worker()
    worker.look(5, ReadPlace(5, 9, handed=5, taken=5))
    worker.hold(8, stamped_at)
    for now in range(10, 100, LOOK_S):
        worker.look(now, ReadPlace(0, 3, handed=9, taken=9))
    assert worker.seconds(100) >= 95
    worker.answer()
    worker.look(105, ReadPlace(0, 3))
    assert worker.seconds(107) == 2


def test_a_worker_that_has_not_looked_yet_counts_from_its_assignment() -> None:
    worker = Worker()
    assert worker.seconds(4) == 4
    worker.look(5, ReadPlace(7, 7, handed=7, taken=7))
    assert worker.seconds(6) == 0
    worker.lag.assigned([ONE], 6)
    worker.places = {}
    assert worker.seconds(9) == 3


def test_a_worker_that_cannot_look_does_not_know_and_says_for_how_long() -> None:
    worker = Worker()
    assert worker.seconds(11) == 11  # not one look since the assignment
    worker.look(15, ReadPlace(7, 7, handed=7, taken=7))
    assert worker.seconds(25) == 0
    assert worker.seconds(75) == 60


def test_without_partitions_there_is_no_lag() -> None:
    worker = Worker()
    worker.lag.assigned([], 5)
    assert worker.seconds(500) == 0


def test_an_assignment_forgets_what_was_known_before_it() -> None:
    worker = Worker()
    worker.look(5, ReadPlace(7, 7, handed=7, taken=7))
    worker.lag.assigned([ONE], 6)
    worker.look(10, ReadPlace(3, 7))
    worker.hold(3, stamped_at=-100)  # given back before, and older than the last idle look
    assert worker.seconds(11) == 111


@given(
    posts=st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 30), st.sampled_from([0, 0, 0, -1_000_000, 1_000_000])),
        min_size=1,
        max_size=15,
    )
)
def test_the_estimate_stays_near_the_truth_over_any_traffic(posts: list[tuple[int, int, int]]) -> None:
    """One post is held at a time; each has a pause before it, a time that it takes, and a clock that is wrong by so much."""
    worker = Worker()
    worker.look(0, ReadPlace(0, 0))
    arrivals = [1 + sum(pause for pause, _, _ in posts[: index + 1]) for index in range(len(posts))]
    answered = done_at = longest = oldest_since = 0
    for now in range(1, arrivals[-1] + sum(service for _, service, _ in posts) + FRESH_S):
        if worker.held and now >= done_at:
            worker.answer()
            answered += 1
        end = sum(arrival <= now for arrival in arrivals)
        if not worker.held and answered < end:
            _, service, skew = posts[answered]
            worker.hold(answered, arrivals[answered] + skew)
            done_at, oldest_since = now + service, now
        taken = answered + len(worker.held)
        if now % LOOK_S == 0:
            worker.look(now, ReadPlace(taken, end, handed=taken, taken=taken))
        truth = now - arrivals[answered] if answered < end else 0
        longest = max(longest, truth)
        said = worker.seconds(now)
        assert said <= 2 * longest + LOOK_S
        if worker.held:
            assert said >= now - oldest_since - LOOK_S
            assert posts[answered][2] != 0 or said == truth
