"""Facts on breakers: whatever order they come in, however often, and whoever wrote them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.control.topic import read_changes
from sluicegate.pipeline.dead_letters import ReplayNote
from sluicegate.pipeline.facts import LAST_GENERATION, BreakerFact, Facts, read_fact
from sluicegate.pipeline.kafka.reader import TopicRecord

POLICY = "sha256:" + "a" * 64
TRIP = BreakerFact(
    state="open",
    tenant="forum",
    policy=POLICY,
    generation=0,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    by="worker-1",
    why="4 of 4 posts blocked in 10 s",
)

trips = st.builds(
    lambda state, tenant, generation: TRIP.model_copy(
        update={"state": state, "tenant": tenant, "generation": generation}
    ),
    st.sampled_from(["open", "closed"]),
    st.sampled_from(["forum", "teens", "*"]),
    st.integers(0, 3),
)


def record(key: bytes | None, value: bytes | None) -> TopicRecord:
    return TopicRecord("sluicegate.control", 0, 0, key, value, None)


def known(facts: Facts[BreakerFact]) -> dict[tuple[str, ...], tuple[int, bool]]:
    return {one.place: one.rank for one in facts}


@given(st.lists(trips, max_size=20), st.randoms())
def test_what_is_known_hangs_on_neither_order_nor_repeats(facts: list[BreakerFact], random: Any) -> None:
    one, other = Facts[BreakerFact](), Facts[BreakerFact]()
    for fact in facts:
        one.add(fact)
    shuffled = facts * 2
    random.shuffle(shuffled)
    for fact in shuffled:
        other.add(fact)
    assert known(one) == known(other)
    assert known(one) == {
        place: max(fact.rank for fact in facts if fact.place == place)
        for place in {fact.place for fact in facts}
    }


@given(st.lists(trips, max_size=20), st.data())
def test_taking_facts_back_leaves_what_the_others_say(facts: list[BreakerFact], data: st.DataObject) -> None:
    gone = {fact.key for fact in facts if data.draw(st.booleans())}
    one, other = Facts[BreakerFact](), Facts[BreakerFact]()
    for fact in facts:
        one.add(fact)
        if fact.key not in gone:
            other.add(fact)
    for key in gone:
        one.remove(key)
    assert known(one) == known(other)
    assert len(one) == len(other)


def test_a_late_trip_of_an_earlier_turn_does_not_undo_a_reset() -> None:
    reset = TRIP.model_copy(update={"state": "closed", "generation": 1})
    for known_before in ([TRIP, reset], [reset]):  # the trip itself may be news, if somebody was cut off
        facts = Facts[BreakerFact]()
        assert all(facts.add(fact) for fact in known_before)
        assert not facts.add(TRIP.model_copy(update={"by": "a worker that was cut off"}))
        (newest,) = facts
        assert newest.state == "closed"


@given(trips)
def test_a_fact_is_read_as_it_was_written(trip: BreakerFact) -> None:
    assert read_fact(trip.key, trip.encode()) == trip


def test_keys_tell_facts_apart_so_that_compaction_keeps_them_all() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"state": "closed"},
        {"generation": 1},
        {"tenant": "teens"},
        {"policy": "sha256:" + "b" * 64},
    ]
    assert len({TRIP.model_copy(update=one).key for one in changes}) == len(changes)


HOSTILE: dict[str, dict[str, Any]] = {
    "another state": {"state": "ajar"},
    "a tenant that is no name": {"tenant": "../x"},
    "a tenant with a line break": {"tenant": "a\n"},
    "a digest of another kind": {"policy": "sha256:zz"},
    "a negative turn": {"generation": -1},
    "a turn as text": {"generation": "1"},
    "a turn that is no whole number": {"generation": 1.5},
    "a turn beyond all numbers": {"generation": 2**70},
    "an opening that no reset can follow": {"generation": LAST_GENERATION + 1},
    "a time without an offset": {"at": "2026-01-01T00:00:00"},
    "no time": {"at": None},
    "a terminal's escape": {"why": "\x1b[2J"},
    "text that runs backwards": {"by": "\u202eada"},
    "a long story": {"why": "x" * 201},
    "nothing": {"by": ""},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_fact_that_is_none_is_refused_and_counted(changes: dict[str, Any]) -> None:
    document = json.loads(TRIP.encode()) | changes
    value = json.dumps(document).encode()
    key = "block-breaker {tenant} {policy} {generation} {state}".format(**document).encode()
    assert read_changes([record(key, value)]) == ([], 1)
    assert read_changes([record(TRIP.key, value)]) == ([], 1)


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 4000, b'{"kind": "block-breaker"}', b" " * 5000],
)
def test_what_is_no_record_is_refused_and_counted(value: bytes) -> None:
    assert read_changes([record(TRIP.key, value)]) == ([], 1)


def test_a_fact_under_another_key_is_refused() -> None:
    for key in (None, b"", TRIP.key + b" ", TRIP.model_copy(update={"generation": 7}).key):
        assert read_changes([record(key, TRIP.encode())]) == ([], 1)


def test_records_of_other_kinds_are_passed_over_and_tombstones_read() -> None:
    note = ReplayNote("posts", "2026-01-01T00:00:00+00:00").encode()
    later = json.dumps(json.loads(TRIP.encode()) | {"a_later_field": 1}).encode()
    records = [
        record(b"some letter", note),
        record(b"x", b'{"kind": "of-a-newer-version"}'),
        record(b"x", b"{}"),
        record(TRIP.key, later),
        record(TRIP.key, None),
        record(None, None),
    ]
    assert read_changes(records) == ([TRIP, TRIP.key], 0)


@given(st.binary(max_size=200), st.none() | st.binary(max_size=200))
def test_any_bytes_are_read_without_harm(key: bytes, value: bytes | None) -> None:
    changes, refused = read_changes([record(key, value)])
    assert len(changes) + refused <= 1
