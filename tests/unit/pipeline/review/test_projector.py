"""What was read and how far are one transaction: a projector that is killed, doubled or overtaken loses and doubles nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.review.projector import OvertakenError, Projector, known_offsets
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas import Feedback, Post, Resolution, Verdict, encode
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore

TOPICS = TopicSettings()


def records(*events: Post | Verdict | Resolution | bytes, first: int = 0) -> list[TopicRecord]:
    """Records as they stand on their topics, with offsets of their own from ``first`` on."""
    found = []
    for offset, one in enumerate(events, first):
        topic = TOPICS.posts if isinstance(one, Post) else TOPICS.review
        if isinstance(one, Resolution):
            topic = TOPICS.resolutions
        found.append(TopicRecord(topic, 0, offset, None, one if isinstance(one, bytes) else encode(one)))
    return found


def projector(bench: Bench, cases: Any = None) -> Projector:
    return Projector(KafkaSettings(), TOPICS, bench.store, cases or bench.cases)


def offsets(store: ReviewStore) -> dict[tuple[str, int], int]:
    with store.reading() as connection:
        return known_offsets(connection)


def test_records_and_their_offsets_are_kept_together(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    known = projector(bench).take(records(text, judged(text)), {})
    assert known == {(TOPICS.posts, 0): 1, (TOPICS.review, 0): 2} == offsets(store)
    assert len(bench.all()) == 1


def test_one_that_fails_halfway_keeps_neither_records_nor_offsets(store: ReviewStore) -> None:
    bench, text = Bench(store), post()

    class Failing:
        take_post = bench.cases.take_post

        def take_verdict(self, *_given: object) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        projector(bench, Failing()).take(records(text, judged(text)), {})
    assert (offsets(store), bench.all()) == ({}, [])
    projector(bench).take(records(text, judged(text)), {})
    assert len(bench.all()) == 1


def test_two_projectors_do_not_both_take_a_record(store: ReviewStore) -> None:
    bench, one, two = Bench(store), post("one"), post("two")
    first = records(one, judged(one))
    known = projector(bench).take(first, {})
    with pytest.raises(OvertakenError):
        projector(bench).take(first, {})
    second = records(two, judged(two), first=2)
    projector(bench).take(second, known)
    with pytest.raises(OvertakenError):
        projector(bench).take(second, known)
    assert sorted(case.copies for case in bench.all()) == [1, 1]


def test_what_is_no_record_of_ours_is_passed_over_by_its_place(
    store: ReviewStore, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(store)
    newer = judged(post()).model_copy(update={"schema_version": "2.0"})
    taking = projector(bench)
    known = taking.take(records(b"a hostile text", newer), {})
    assert taking.unreadable == 2
    assert known == {(TOPICS.review, 0): 2}
    assert "unreadable record at verdicts.review/0/0" in caplog.text
    assert "hostile" not in caplog.text


def named(bench: Bench, name: str) -> Resolution:
    """A decision that somebody else named in their own way."""
    text = post("decided")
    bench.take(text, judged(text))
    bench.answer(bench.all()[0].case_id)
    return bench.resolutions()[0].model_copy(update={"resolution_id": name, "post_id": "elsewhere"})


def test_a_decision_with_a_name_of_somebody_elses_counts(store: ReviewStore) -> None:
    bench, appealed = Bench(store), post("elsewhere")
    appeal = named(bench, "appeal/" + "r" * 249)
    taking, told = projector(bench), judged(appealed)
    taking.take(records(appealed, told), {})
    assert [bench.verdict(one.case_id).post_id for one in bench.all()] == ["elsewhere"]
    of_post = {"verdict_id": told.verdict_id, "content_hash": told.content_hash}
    taking.take(records(appeal.model_copy(update=of_post)), {})
    assert taking.unreadable == 0
    assert bench.all() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict_id": "v" * 257},
        {"verdict_id": "v\0"},
        {"verdict_id": "v\u200b"},
        {"verdict_id": ""},
        {"categories": ("a\0b",)},
        {"disposition": "d" * 65},
        {"policy": {"rule": "r\0"}},
        {"breaker": {"action": "block", "disposition": "d" * 65, "open_since": "2026-03-01T08:00:00Z"}},
        None,
    ],
)
def test_a_record_that_no_table_has_room_for_is_passed_over_and_counted(
    store: ReviewStore, changes: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    bench, text, after = Bench(store), post(), post("after")
    hostile: Verdict | Resolution = judged(text)
    if changes is None:
        hostile = named(bench, "r" * 257)
    else:
        given = hostile.model_dump(mode="json")
        for name, value in changes.items():
            given[name] = {**given[name], **value} if isinstance(given[name], dict) else value
        hostile = Verdict.model_validate(given)
    taking = projector(bench)
    taking.take(records(text, hostile, after, judged(after)), {})
    assert taking.unreadable == 1
    assert "unreadable record at" in caplog.text
    assert [bench.verdict(case.case_id).post_id for case in bench.all()] == ["after"]


def test_a_rebuilt_read_model_has_the_same_open_cases_and_no_decided_one_again(store: ReviewStore) -> None:
    bench, texts = Bench(store), [post(name) for name in "abc"]
    taken = [one for text in texts for one in records(text, judged(text, at=1))]
    stood = [TopicRecord(one.topic, 0, number, one.key, one.value) for number, one in enumerate(taken)]
    projector(bench).take(stood, {})
    first, *rest = [case.case_id for case in bench.all()]
    bench.answer(first)
    store.forget_read_model()
    assert (bench.all(), offsets(store)) == ([], {})
    projector(bench).take(stood, {})
    assert {case.case_id for case in bench.all()} == set(rest)
    assert bench.case(first).state == "decided"
    assert len(bench.sent()) == 1


def test_a_rebuild_loses_no_first_answer_no_round_and_no_dispute(store: ReviewStore) -> None:
    bench = Bench(store, double_share=1)
    texts = [post(name) for name in ("untouched", "read once", "disputed", "reopened", "skipped")]
    stood = [
        TopicRecord(one.topic, 0, number, one.key, one.value)
        for number, one in enumerate(one for text in texts for one in records(text, judged(text, at=1)))
    ]
    projector(bench).take(stood, {})
    by_post = {bench.verdict(case.case_id).post_id: case.case_id for case in bench.all()}
    bench.answer(by_post["read once"], HERON)
    bench.answer(by_post["disputed"], HERON)
    bench.answer(by_post["disputed"], MAGPIE, "block")
    for reviewer in (HERON, MAGPIE):
        bench.answer(by_post["reopened"], reviewer)
    with store.writing() as connection:
        assert bench.decisions.reopen(connection, by_post["reopened"], OWL)
        bench.queue.skip(connection, by_post["skipped"], MAGPIE)
    before = {name: bench.case(case_id) for name, case_id in by_post.items()}
    assert store.forget_read_model() == (1, 4)
    projector(bench).take(stood, {})  # they are all there still
    after = {name: bench.case(case_id) for name, case_id in by_post.items()}
    assert {name: (case.state, case.round, case.version, case.copies) for name, case in after.items()} == {
        name: (case.state, case.round, case.version, case.copies) for name, case in before.items()
    }
    assert bench.answer(by_post["read once"], HERON).kind == "repeated"
    assert bench.answer(by_post["read once"], MAGPIE).kind == "settled"
    assert bench.answer(by_post["disputed"], OWL, "block").kind == "settled"
    assert bench.answer(by_post["reopened"], HERON).kind == "first"


def test_a_rebuild_loses_no_first_answer_whose_topics_were_cleaned_meanwhile(store: ReviewStore) -> None:
    bench, text = Bench(store, double_share=1), post()
    projector(bench).take(records(text, judged(text)), {})
    (case,) = bench.all()
    bench.answer(case.case_id, HERON)
    store.forget_read_model()
    assert bench.answer(case.case_id, MAGPIE).kind == "settled"
    assert len(bench.resolutions()) == 1
    told = [Feedback.model_validate_json(row.value).basis for row in bench.sent("feedback")]
    assert told == ["vote", "double"]
