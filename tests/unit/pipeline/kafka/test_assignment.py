"""An assignment: where it begins, and what is committed of it."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from sluicegate.pipeline.kafka.assignment import (
    Assignment,
    KafkaDelivery,
    Reset,
    incarnation_of,
    place,
    where_to_begin,
)

TOPIC = "posts"
ONE = (TOPIC, 0)


@pytest.mark.parametrize(
    ("committed", "committed_of", "lost", "bounds", "offset", "reset"),
    [
        pytest.param(None, None, None, (3, 9), 3, None, id="a new group reads what is there"),
        pytest.param(5, "one", None, (3, 9), 5, None, id="a commit"),
        pytest.param(5, None, None, (3, 9), 5, None, id="a commit of an older release"),
        pytest.param(9, "one", None, (3, 9), 9, None, id="a commit at the end"),
        pytest.param(3, "one", None, (3, 9), 3, None, id="a commit at the beginning"),
        pytest.param(2, "one", None, (3, 9), 3, Reset("missed", 2, 3), id="retention passed it"),
        pytest.param(10, "one", None, (3, 9), 3, Reset("cut", 10, 3), id="the log ends before it"),
        pytest.param(5, "two", None, (3, 9), 3, Reset("made again", 5, 3), id="it is of another topic"),
        pytest.param(2, "two", None, (3, 9), 3, Reset("made again", 2, 3), id="of another topic, and passed"),
        pytest.param(5, "one", 7, (3, 9), 3, Reset("cut", 7, 3), id="cut, and grown past what was wanted"),
        pytest.param(5, "one", 12, (3, 9), 3, Reset("cut", 12, 3), id="cut behind the commit"),
        pytest.param(1, "one", 2, (3, 9), 3, Reset("missed", 2, 3), id="what was wanted is counted"),
        pytest.param(None, None, 12, (3, 9), 3, Reset("cut", 12, 3), id="cut before the first commit"),
    ],
)
def test_where_a_partition_begins(
    committed: int | None,
    committed_of: str | None,
    lost: int | None,
    bounds: tuple[int, int],
    offset: int,
    reset: Reset | None,
) -> None:
    first, end = bounds
    found = where_to_begin(committed, committed_of, "one", lost=lost, diverged=False, first=first, end=end)
    assert (found.offset, found.reset) == (offset, reset)


def test_a_log_that_diverged_before_the_commit_is_read_from_its_beginning() -> None:
    found = where_to_begin(5, "one", "one", lost=None, diverged=True, first=3, end=9)
    assert found == (3, Reset("cut", 5, 3))


def test_brokers_that_name_no_topic_fence_nothing() -> None:
    assert where_to_begin(5, "two", None, lost=None, diverged=False, first=3, end=9).reset is None


def test_a_commit_names_the_incarnation_of_its_topic() -> None:
    commit = place(ONE, 7, "abc", 3)
    assert (commit.offset, incarnation_of(commit), commit.leader_epoch) == (7, "abc", 3)
    assert incarnation_of(place(ONE, 7, None)) is None
    assert incarnation_of(TopicPartition(TOPIC, 0, 7, "something else")) is None


def committable(assignment: Assignment) -> tuple[int, int | None] | None:
    due = assignment.due()
    return None if due is None else (due.offset, due.leader_epoch)


def test_nothing_is_committed_past_the_last_acknowledged_record() -> None:
    one = Assignment(ONE, 5, "abc")
    assert committable(one) is None
    for offset in (5, 6, 9):
        one.hand(offset, 0)
    one.see_end(12)
    assert committable(one) is None
    one.acknowledge(5)
    assert committable(one) == (6, 0)
    one.acknowledge(6)
    one.acknowledge(9)
    # Behind markers and aborted records as well; of which epoch those are, nobody tells.
    assert committable(one) == (12, None)
    one.committed = 12
    assert committable(one) is None
    one.hand(12, 0)
    assert committable(one) is None  # the end that was seen is behind us, and is committed
    assert one.position == 13


def test_a_commit_names_the_leaders_epoch_of_the_record_before_it() -> None:
    one = Assignment(ONE, 0, None)
    for offset, epoch in ((0, 1), (1, 1), (2, 4), (3, None), (4, 6)):
        one.hand(offset, epoch)
    found = []
    for offset in range(5):
        one.acknowledge(offset)
        found.append(committable(one))
    assert found == [(1, 1), (2, 1), (3, 4), (4, 4), (5, 6)]


def test_what_is_acknowledged_of_an_ended_assignment_counts_nothing() -> None:
    one = Assignment(ONE, 5, None)
    one.hand(5, None)
    one.is_current = False
    one.acknowledge(5)
    assert one.acknowledged == 5


def test_a_record_takes_the_bytes_of_all_that_it_has() -> None:
    def size(key: bytes | None, value: bytes | None, *headers: tuple[str, bytes | None]) -> int:
        return KafkaDelivery(Assignment(ONE, 0, None), 0, key, value, headers, None).size_bytes

    bare = size(None, None)
    assert bare > 0
    assert size(b"key", b"value") == bare + 8
    assert size(None, None, ("ab", None), ("c", b"1234")) == bare + 7
