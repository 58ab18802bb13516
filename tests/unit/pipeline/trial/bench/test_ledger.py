"""The ledger: drops, repeats and stages, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.trial.bench import ledger as module
from sluicegate.pipeline.trial.bench.ledger import STAGES, Ledger
from unit.pipeline.trial.bench.records import TOPICS, arrived_ms, dead_letter, ledger, verdict


def add(found: Ledger, record: TopicRecord, *, read_after_ms: float = 75.0, number: int = 0) -> None:
    found.add(record, read_ms=arrived_ms(found, number) + read_after_ms)


def test_what_was_sent_and_has_no_answer_is_waiting() -> None:
    found = ledger(5, sent=4)
    add(found, verdict(found, 0))
    add(found, dead_letter(found, 2))
    assert (found.sent, found.answered, found.waiting, found.settled) == (4, 2, 2, False)
    add(found, verdict(found, 1))
    add(found, verdict(found, 3))
    assert (found.waiting, found.settled, found.dead_letters) == (0, True, 1)


def test_what_the_brokers_refused_is_not_waited_for() -> None:
    found = ledger(3)
    found.note_refused(1, "FORBIDDEN")
    found.note_refused(1, "FORBIDDEN")
    add(found, verdict(found, 0))
    add(found, verdict(found, 2))
    assert (found.refused, found.waiting, found.settled) == (1, 0, True)


def test_a_refused_post_that_is_answered_all_the_same_hides_no_drop() -> None:
    found = ledger(3)
    add(found, verdict(found, 0))
    found.note_refused(1, "_MSG_TIMED_OUT")  # the broker had taken it
    assert found.refusals == {"_MSG_TIMED_OUT": 1}
    add(found, verdict(found, 1))
    assert found.refusals == {}
    assert (found.refused, found.answered, found.waiting, found.settled) == (0, 2, 1, False)
    add(found, verdict(found, 2))
    assert (found.waiting, found.settled) == (0, True)


def test_reasons_of_refusals_are_counted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REASONS", 2)
    found = ledger(6)
    for number, reason in enumerate(["one", "two", "one", "three", "four"]):
        found.note_refused(number, reason)
    assert dict(found.refusals) == {"one": 2, "two": 1, "other": 2}
    assert found.refused == 5


def test_judged_is_what_has_a_verdict_that_is_no_failure() -> None:
    found = ledger(4)
    for _ in range(2):  # repeats are no further posts
        add(found, verdict(found, 0))
        add(found, verdict(found, 1, failure={"code": "timed_out"}, assessed_by="none"))
        add(found, dead_letter(found, 2))
    assert (found.answered, found.judged) == (3, 1)


def test_an_id_that_is_not_the_first_contradicts_itself_too() -> None:
    found = ledger(2)
    add(found, verdict(found, 0, verdict_id="a"))
    for topic in (TOPICS.allow, TOPICS.allow, TOPICS.block):
        add(found, verdict(found, 0, verdict_id="b", topic=topic))
    add(found, verdict(found, 1, verdict_id="b", topic=TOPICS.block))  # another post's
    assert (found.repeats_same_id, found.repeats_other_id, found.contradictions) == (0, 2, 1)


def test_further_ids_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FURTHER_IDS", 2)
    found = ledger(1)
    for topic in (TOPICS.allow, TOPICS.block):
        for verdict_id in "abcd":
            add(found, verdict(found, 0, verdict_id=verdict_id, topic=topic))
    assert (found.contradictions, found.repeats_other_id) == (3, 4)


def test_repeats_are_told_apart_by_id_and_topic() -> None:
    found = ledger(3)
    add(found, verdict(found, 0, verdict_id="a"))
    add(found, verdict(found, 0, verdict_id="a"))
    add(found, verdict(found, 0, verdict_id="b", topic=TOPICS.block))
    add(found, verdict(found, 0, verdict_id="a", topic=TOPICS.block))
    add(found, dead_letter(found, 1))
    add(found, dead_letter(found, 1))
    assert (found.repeats_same_id, found.repeats_other_id, found.contradictions) == (2, 1, 1)
    assert found.answered == 2
    assert dict(found.records) == {TOPICS.allow: 2, TOPICS.review: 0, TOPICS.block: 2, TOPICS.dead_letter: 2}


def test_repeats_have_no_latency_of_their_own() -> None:
    found = ledger(1)
    add(found, verdict(found, 0))
    add(found, verdict(found, 0, stamped_ms=90_000))
    assert found.latency.count == 1
    assert found.latency.most_ms == pytest.approx(70, abs=1)


@pytest.mark.parametrize(
    "name",
    ["bench-run-99", "bench-run-4", "bench-run--1", "bench-run-१", "bench-run-", "bench-other-1", "x", 7],
)
def test_records_of_others_are_counted_and_change_nothing(name: object) -> None:
    found = ledger(5, sent=4)
    add(found, verdict(found, 0, post_id=name))
    assert (found.foreign, found.answered, sum(found.records.values())) == (1, 0, 0)


def test_stages_add_up_from_the_arrival_to_the_reading() -> None:
    found = ledger(1, late_ms=2.0)
    # Arrived at 0, sent at 2, taken at 10 = 60 - 50, to the engine at 30, decided at 60, stamped at 70, read at 75.
    add(found, verdict(found, 0, decided_ms=60, stamped_ms=70), read_after_ms=75)
    means = {name: histogram.mean_ms for name, histogram in found.stages.items()}
    expected = {"late": 2, "topic": 8, "queued": 20, "engine": 30, "publish": 10, "read": 5}
    assert means == pytest.approx(expected, abs=1)  # Kafka counts whole milliseconds
    assert list(means) == list(STAGES)
    assert found.seen.mean_ms == pytest.approx(75, abs=1)


def test_waiting_behind_a_late_sender_counts_as_latency() -> None:
    found = ledger(1, late_ms=5_000)
    add(found, verdict(found, 0, decided_ms=5_060, stamped_ms=5_070), read_after_ms=5_075)
    assert (found.latency.percentile_ms(0.5) or 0) >= 5_069
    assert found.stages["late"].mean_ms == pytest.approx(5_000)


@pytest.mark.parametrize("ahead_ms", [-5_000, 5_000])
def test_clocks_that_differ_are_noticed(ahead_ms: float) -> None:
    found = ledger(2)
    add(found, verdict(found, 0, decided_ms=60 + ahead_ms, stamped_ms=70 + ahead_ms))
    add(found, verdict(found, 1), number=1)
    assert found.skewed == 1


def test_intervals_hold_the_posts_that_arrived_in_them() -> None:
    found = ledger(10)
    for number in range(10):
        add(found, verdict(found, number), number=number)
    assert found.interval_s == 1
    assert sum(one.sent for one in found.intervals.values()) == 10
    assert all(one.sent == one.latency.count for one in found.intervals.values())
    assert {int(at_s) for at_s in found.arrivals.at_s} == found.intervals.keys()


def test_names_that_a_report_lists_are_bounded() -> None:
    found = ledger(40)
    for number in range(40):
        engine = {"backend": "b", "model": f"m{number}\n|"}
        failure = {"code": f"invented_{number}"}
        add(found, verdict(found, number, engine=engine, failure=failure, assessed_by=f"who{number}"))
    assert len(found.engines) == 9
    assert not any("\n" in name for name in found.engines)
    assert dict(found.failures) == {"other": 40}
    assert dict(found.assessed_by) == {"other": 40}


@given(st.binary(max_size=60), st.sampled_from(TOPICS.outputs))
def test_whatever_stands_on_a_topic_is_taken(value: bytes, topic: str) -> None:
    found = ledger(2)
    found.add(TopicRecord(topic, 0, 0, value, value, None), read_ms=0)
    assert found.foreign == 1


@given(
    st.sampled_from(["judged_at", "timings", "engine", "failure", "assessed_by", "verdict_id"]),
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.just({"queued_ms": "x"}),
)
def test_a_verdict_with_odd_fields_is_an_answer_all_the_same(field: str, value: Any) -> None:
    found = ledger(2)
    add(found, verdict(found, 0, **{field: value}))
    assert found.answered == 1
