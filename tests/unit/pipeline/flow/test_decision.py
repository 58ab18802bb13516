from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.protocol import Explanation, ItemFailure
from sluicegate.pipeline.flow.decision import Provenance, assess, bury, decide, engine_reference, withhold
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import (
    AssessedBy,
    FailureCode,
    Post,
    ReasonCode,
    Rejection,
    Scores,
    Segments,
    Timings,
    Verdict,
    encode,
)
from unit.pipeline.fakes import MemoryDelivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCORES = Scores(safe=0.05, controversial=0.05, unsafe=0.9)
POLICY = Policy.load(None)


def provenance(by: AssessedBy = AssessedBy.ENGINE, reused_from: str | None = None) -> Provenance:
    timings = Timings(queued_ms=1, engine_ms=2, total_ms=3)
    return Provenance(engine_reference(FakeEngine().info), by, reused_from, Segments(), timings, NOW)


@pytest.mark.parametrize("code", list(FailureCode))
def test_no_failure_carries_anything_that_reads_as_safe(code: FailureCode) -> None:
    verdict = decide(Post(id="p", text="x"), ItemFailure(code), POLICY, provenance())
    assert verdict.action.value == "review"
    assert verdict.severity is None
    assert verdict.scores is None
    assert verdict.assessed_by is AssessedBy.NONE
    assert verdict.checked.outcome == f"failure:{code.value}"


def test_a_failure_is_never_withheld_as_if_it_were_a_block() -> None:
    post = Post(id="p", text="x")
    failed = decide(post, ItemFailure(FailureCode.TIMED_OUT), POLICY, provenance())
    with pytest.raises(ValueError, match="without scores"):
        withhold(failed, post, POLICY, open_since=NOW)


def test_the_id_tells_outcomes_policies_engines_and_contents_apart() -> None:
    post = Post(id="p", text="x")
    judged = decide(post, assess(SCORES, None), POLICY, provenance())
    again = decide(post, assess(SCORES, Explanation(("Violent",))), POLICY, provenance())
    assert judged.verdict_id == again.verdict_id  # the explanation is no part of it
    others = {
        decide(post, ItemFailure(FailureCode.TIMED_OUT), POLICY, provenance()).verdict_id,
        decide(post.model_copy(update={"text": "y"}), assess(SCORES, None), POLICY, provenance()).verdict_id,
        decide(
            post.model_copy(update={"revision": 2}), assess(SCORES, None), POLICY, provenance()
        ).verdict_id,
        decide(
            post, assess(SCORES, None), Policy.parse({"name": "other", "version": "1"}), provenance()
        ).verdict_id,
    }
    assert len(others | {judged.verdict_id}) == 5


def test_a_repeat_answered_from_the_cache_does_not_point_at_itself() -> None:
    post = Post(id="p", text="x")
    first = decide(post, assess(SCORES, None), POLICY, provenance())
    repeat = decide(post, assess(SCORES, None), POLICY, provenance(AssessedBy.CACHE, first.verdict_id))
    assert repeat.verdict_id == first.verdict_id
    assert repeat.reused_from is None
    copy = decide(
        post.model_copy(update={"id": "q"}),
        assess(SCORES, None),
        POLICY,
        provenance(AssessedBy.CACHE, first.verdict_id),
    )
    assert copy.reused_from == first.verdict_id


def test_an_explanation_cannot_change_the_severity() -> None:
    for explanation in (None, Explanation(("None",)), ItemFailure(FailureCode.UNPARSABLE)):
        assert assess(SCORES, explanation).severity == "unsafe"


def test_a_dead_letter_keeps_the_record_and_its_origin() -> None:
    delivery = MemoryDelivery(7, b"{bad", key=b"k", headers=(("h", b"v"), ("none", None)))
    letter = bury(delivery, Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=100, now=NOW)
    assert base64.b64decode(letter.payload) == b"{bad"
    assert base64.b64decode(letter.key or "") == b"k"
    assert letter.headers == (("h", base64.b64encode(b"v").decode()), ("none", None))
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts", 0, 7)
    assert not letter.truncated
    again = bury(delivery, Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=100, now=NOW)
    assert letter.dead_letter_id == again.dead_letter_id


def test_a_long_payload_is_cut_and_its_hash_and_length_kept() -> None:
    payload = b"x" * 10_000
    delivery = MemoryDelivery(0, payload, key=b"k" * 5_000, headers=(("h" * 5_000, b"v" * 5_000),) * 100)
    letter = bury(delivery, Rejection(ReasonCode.OVERSIZE, "why"), payload_bytes=100, now=NOW)
    assert letter.truncated
    assert letter.payload_bytes == 10_000
    assert letter.payload_hash == f"sha256:{hashlib.sha256(payload).hexdigest()}"
    assert len(encode(letter)) < 100_000
    assert Verdict.__name__ not in letter.payload


@pytest.mark.parametrize(
    ("beyond", "truncated"),
    [
        ({}, False),
        ({"value": b"v" * 101}, True),
        ({"key": b"k" * 1_025}, True),
        ({"headers": (("h", b"v" * 1_024),) * 33}, True),
        ({"headers": (("h" * 1_025, b"v"),)}, True),
        ({"headers": (("h", b"v" * 1_025),)}, True),
    ],
)
def test_a_record_as_large_as_may_be_is_kept_whole_and_one_more_says_that_it_is_cut(
    beyond: dict[str, Any], truncated: bool
) -> None:
    whole: dict[str, Any] = {"key": b"k" * 1_024, "headers": (("h" * 1_024, b"v" * 1_024),) * 32}
    given = {"value": b"v" * 100, **whole, **beyond}
    delivery = MemoryDelivery(7, given["value"], key=given["key"], headers=given["headers"])
    letter = bury(delivery, Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=100, now=NOW)
    assert letter.truncated is truncated
    assert base64.b64decode(letter.payload) == b"v" * 100
    assert base64.b64decode(letter.key or "") == b"k" * 1_024
    kept = [(name, base64.b64decode(value or "")) for name, value in letter.headers]
    assert kept == [(name[:1_024], (value or b"")[:1_024]) for name, value in given["headers"][:32]]


def test_a_record_without_a_value_is_a_dead_letter_of_no_bytes() -> None:
    letter = bury(
        MemoryDelivery(7, None), Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=100, now=NOW
    )
    assert (letter.payload, letter.payload_bytes, letter.truncated) == ("", 0, False)
