"""The demo's accounts."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.pipeline.trial.demo.tally import (
    DemoTally,
    EngineCounts,
    LabelCounts,
    LastVerdicts,
    Snapshot,
    percentile,
)

TOPICS = TopicSettings()
_offsets = itertools.count()


def record(topic: str, value: Any, *, offset: int | None = None, at_ms: int | None = 1000) -> TopicRecord:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return TopicRecord(topic, 0, next(_offsets) if offset is None else offset, None, raw, at_ms)


def post(post_id: str, *, offset: int | None = None, at_ms: int = 1000, **fields: Any) -> TopicRecord:
    return record(TOPICS.posts, {"id": post_id, "text": "t", **fields}, offset=offset, at_ms=at_ms)


def verdict(
    post_id: str, verdict_id: str, action: str = "allow", *, at_ms: int = 1500, **fields: Any
) -> TopicRecord:
    body = {
        "action": action,
        "post_id": post_id,
        "verdict_id": verdict_id,
        "tenant": "default",
        "revision": 0,
        **fields,
    }
    return record(getattr(TOPICS, action), body, at_ms=at_ms)


def dead_letter(letter_id: str, offset: int) -> TopicRecord:
    origin = {"topic": TOPICS.posts, "partition": 0, "offset": offset}
    return record(TOPICS.dead_letter, {"dead_letter_id": letter_id, "origin": origin})


def tally(*records: TopicRecord) -> DemoTally:
    made = DemoTally(TOPICS)
    for one in records:
        made.add(one)
    return made


def test_every_post_with_its_verdict_and_a_malformed_record_with_its_dead_letter_balance() -> None:
    balance = tally(
        post("a"),
        post("b"),
        record(TOPICS.posts, b"{no json", offset=700),
        verdict("a", "va"),
        verdict("b", "vb", "block"),
        dead_letter("d1", 700),
    ).balance()
    assert balance.holds
    assert balance.closing_line() == (
        "demo: 3 posts in, 2 verdicts out (allow 1, review 0, block 1), 1 dead letters, 0 lost, 0 duplicated"
    )


def test_a_post_without_an_answer_is_lost_and_named() -> None:
    balance = tally(post("a"), post("b"), verdict("a", "va")).balance()
    assert balance.lost == ("b",)
    assert not balance.holds
    assert balance.closing_line().endswith("1 lost, 0 duplicated")


def test_a_malformed_record_without_a_dead_letter_is_lost_and_named_by_its_place() -> None:
    balance = tally(record(TOPICS.posts, b"\xff", offset=31)).balance()
    assert balance.lost == ("0/31",)


def test_a_record_with_a_readable_id_that_is_no_post_is_answered_by_its_dead_letter() -> None:
    balance = tally(post("a", offset=44, text=17), dead_letter("d", 44)).balance()
    assert balance.holds


def test_a_verdict_id_seen_twice_is_a_duplicate() -> None:
    balance = tally(post("a"), verdict("a", "va"), verdict("a", "va")).balance()
    assert balance.duplicated == ("va",)
    assert balance.lost == ()
    assert not balance.holds


def test_a_second_verdict_with_another_id_is_a_duplicate_too() -> None:
    balance = tally(post("a"), verdict("a", "one"), verdict("a", "two", "block")).balance()
    assert balance.duplicated == ("two",)
    assert not balance.holds


def test_a_dead_letter_seen_twice_is_a_duplicate() -> None:
    balance = tally(record(TOPICS.posts, b"x", offset=5), dead_letter("d", 5), dead_letter("d", 5)).balance()
    assert balance.duplicated == ("d",)
    assert not balance.holds


def test_a_dead_letter_for_a_post_that_also_has_a_verdict_does_not_balance() -> None:
    balance = tally(post("a", offset=9), verdict("a", "va"), dead_letter("d", 9)).balance()
    assert not balance.holds


def test_one_lost_and_one_duplicated_do_not_make_up_for_each_other() -> None:
    balance = tally(post("a"), post("b"), verdict("a", "va"), verdict("a", "va")).balance()
    assert balance.posts == balance.answered
    assert not balance.holds


def test_the_same_post_sent_twice_may_have_two_verdicts_with_one_id() -> None:
    balance = tally(post("a"), post("a"), verdict("a", "va"), verdict("a", "va")).balance()
    assert balance.holds


@pytest.mark.parametrize(("field", "value"), [("tenant", "other"), ("revision", 1)])
def test_tenant_and_revision_tell_posts_with_the_same_id_apart(field: str, value: Any) -> None:
    posts = [post("a"), post("a", **{field: value})]
    assert tally(*posts, verdict("a", "v1"), verdict("a", "v2", **{field: value})).balance().holds
    assert tally(*posts, verdict("a", "v1")).balance().lost == ("a",)


@pytest.mark.parametrize(
    "answer", [verdict("stranger", "vs"), dead_letter("ds", 12345), record("verdicts.allow", b"?")]
)
def test_an_answer_that_nobody_asked_for_does_not_balance(answer: TopicRecord) -> None:
    balance = tally(post("a"), verdict("a", "va"), answer).balance()
    assert len(balance.unasked) == 1
    assert not balance.holds


def test_a_post_that_could_not_be_scored_is_counted_by_its_code() -> None:
    failure = {"code": "too_long", "mode": "review"}
    balance = tally(post("a"), verdict("a", "va", "review", failure=failure)).balance()
    assert balance.failures == {"too_long": 1}
    assert balance.holds


def test_latency_is_from_the_posts_timestamp_to_its_own_verdicts() -> None:
    balance = tally(
        post("a", at_ms=1000),
        post("b", at_ms=2000),
        verdict("b", "vb", at_ms=2010),
        verdict("a", "va", at_ms=1500),
    ).balance()
    assert sorted(balance.latencies_ms) == [10, 500]


@given(st.permutations(range(6)))
def test_the_order_in_which_topics_are_read_changes_nothing(order: list[int]) -> None:
    records = [
        post("a", offset=1),
        post("b", offset=2),
        record(TOPICS.posts, b"no", offset=3),
        verdict("a", "va"),
        verdict("b", "vb", "review"),
        dead_letter("d", 3),
    ]
    assert tally(*(records[at] for at in order)).balance().holds


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values_and_enough_of_them_do_not_exceed_it(
    values: list[int], percent: int
) -> None:
    found = percentile(values, percent / 100)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values)
    assert sum(value < found for value in values) < percent / 100 * len(values)


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None


def test_a_replay_that_did_not_put_every_record_on_the_topic_is_not_balanced() -> None:
    balance = tally(post("a"), verdict("a", "va")).balance()
    complete, short = (Snapshot(expected, 1.0, balance, 0.0, {}, ()) for expected in (1, 2))
    assert complete.balanced
    assert complete.summary()["balanced"] is True
    assert not short.balanced


def test_the_worker_s_own_metrics_are_read_by_the_names_it_exports() -> None:
    from prometheus_client import generate_latest  # noqa: PLC0415 - beside what it is compared with

    metrics = Metrics()
    metrics.busy_seconds.set(2.5)
    metrics.cache_hits.labels("stored").inc(3)
    assert EngineCounts.parse(generate_latest(metrics.registry).decode()) == EngineCounts(2.5, {"stored": 3})


@pytest.mark.parametrize(("show_text", "shown"), [(False, "a ··· 13"), (True, "a \\x1b[2Jsecret\\x0a")])
def test_the_last_verdicts_show_a_text_only_on_request_and_never_let_it_act(
    show_text: bool, shown: str
) -> None:
    last = LastVerdicts(DemoTally(TOPICS), show_text)
    last.add(verdict("a", "va", "block"))
    last.add(post("a", text="a \x1b[2Jsecret\n"))
    (row,) = last.rows()
    assert row.text == shown


def test_labels_are_told_beside_what_was_judged_and_posts_without_one_count_for_nothing() -> None:
    def labelled(post_id: str, label: Any) -> TopicRecord:
        return post(post_id, metadata={"label": label})

    found = tally(
        labelled("right", "unsafe"),
        verdict("right", "v1", "block", severity="unsafe"),
        labelled("mild", "unsafe"),
        verdict("mild", "v2", "review", severity="controversial"),
        labelled("missed", "controversial"),
        verdict("missed", "v3", "allow", severity="safe"),
        labelled("harmless", "safe"),
        verdict("harmless", "v4", "allow", severity="safe"),
        labelled("stopped", "safe"),
        verdict("stopped", "v5", "review", severity=None),
        labelled("unanswered", "safe"),
        labelled("unknown", "bad"),
        labelled("odd", ["safe"]),
        post("odder", metadata="safe"),
        post("bare"),
        *(verdict(one, f"v-{one}") for one in ("unknown", "odd", "odder", "bare")),
    ).balance()
    assert found.labelled == LabelCounts(posts=5, right=2, harmful=3, harmful_allowed=1, safe_stopped=1)
    assert found.labelled.line() == (
        "labels: 2 of 5 posts have the severity of their label; 1 of 3 harmful ones were allowed, 1 of 2 safe ones were not"
    )
