from __future__ import annotations

import pytest

from sluicegate.pipeline.observe.lag import ReadPlace, StallDetection

ONE, TWO = ("posts", 0), ("posts", 1)


@pytest.mark.parametrize(
    ("place", "waits"),
    [
        (ReadPlace(position=5, end=5), False),
        (ReadPlace(position=5, end=6), True),
        (ReadPlace(position=7, end=5), False),  # the end is of an earlier moment
        (ReadPlace(position=None, end=0), True),
        (ReadPlace(position=5, end=5, handed=5, taken=5), False),
        (ReadPlace(position=5, end=5, handed=5, taken=4), True),
    ],
)
def test_a_partition_waits_while_there_is_something_to_fetch_or_to_take(
    place: ReadPlace, waits: bool
) -> None:
    assert place.waits is waits


def test_a_partition_that_stays_where_it_is_stalls_after_the_time_and_is_named_once() -> None:
    standstill = StallDetection(10)
    here = {ONE: ReadPlace(5, 9), TWO: ReadPlace(9, 9)}
    assert standstill.look(here, 0) == ()
    assert standstill.look(here, 10) == ()
    assert not standstill.partitions
    assert standstill.look(here, 10.1) == (ONE,)
    assert standstill.look(here, 11) == ()
    assert standstill.partitions == (ONE,)


@pytest.mark.parametrize(
    "moved",
    [ReadPlace(6, 9), ReadPlace(5, 9, handed=5, taken=4), ReadPlace(9, 9)],
    ids=["fetched", "taken", "all fetched"],
)
def test_any_progress_begins_the_time_anew(moved: ReadPlace) -> None:
    standstill = StallDetection(10)
    standstill.look({ONE: ReadPlace(5, 9)}, 0)
    standstill.look({ONE: moved}, 9)
    assert standstill.look({ONE: moved}, 18) == ()


def test_a_stalled_partition_that_moves_on_is_no_longer_named() -> None:
    standstill = StallDetection(10)
    standstill.look({ONE: ReadPlace(5, 9)}, 0)
    standstill.look({ONE: ReadPlace(5, 9)}, 11)
    standstill.look({ONE: ReadPlace(6, 9)}, 12)
    assert standstill.partitions == ()


def test_a_partition_that_was_handed_over_is_forgotten() -> None:
    standstill = StallDetection(10)
    standstill.look({ONE: ReadPlace(5, 9)}, 0)
    standstill.look({}, 5)
    assert standstill.look({ONE: ReadPlace(5, 9)}, 11) == ()


def test_an_excuse_begins_every_time_anew() -> None:
    standstill = StallDetection(10)
    standstill.look({ONE: ReadPlace(5, 9)}, 0)
    standstill.look({ONE: ReadPlace(5, 9)}, 11)
    standstill.excuse()
    assert standstill.partitions == ()
    assert standstill.look({ONE: ReadPlace(5, 9)}, 12) == ()
    assert standstill.look({ONE: ReadPlace(5, 9)}, 23) == (ONE,)


def test_an_end_that_moves_is_no_progress() -> None:
    standstill = StallDetection(10)
    standstill.look({ONE: ReadPlace(5, 9)}, 0)
    assert standstill.look({ONE: ReadPlace(5, 900)}, 11) == (ONE,)
