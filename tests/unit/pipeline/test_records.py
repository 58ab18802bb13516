from __future__ import annotations

import base64
from datetime import UTC, datetime

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.protocol import Explanation
from sluicegate.pipeline.flow.decision import Provenance, assess, bury, decide, engine_reference
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import cut, dead_letter_record, verdict_record
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import (
    AssessedBy,
    DeadLetter,
    MadeVerdict,
    Post,
    ReasonCode,
    Rejection,
    Scores,
    Segments,
    Timings,
    encode,
)
from unit.pipeline.fakes import MemoryDelivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = TopicSettings()


def verdict() -> MadeVerdict:
    finding = assess(
        Scores(safe=0.05, controversial=0.05, unsafe=0.9),
        Explanation(("Violent",), {"Violent": 1.0}, reason="because " * 20),
    )
    timings = Timings(queued_ms=1, engine_ms=2, total_ms=3)
    provenance = Provenance(
        engine_reference(FakeEngine().info), AssessedBy.ENGINE, None, Segments(), timings, NOW
    )
    return decide(Post(id="p\u00e9", text="x"), finding, Policy.load(None), provenance)


def letter(payload: bytes) -> DeadLetter:
    delivery = MemoryDelivery(3, payload, key=b"raw")
    return bury(delivery, Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=10**6, now=NOW)


def test_a_verdict_is_keyed_by_its_post_and_names_itself_in_a_header() -> None:
    made = verdict()
    record = verdict_record(made, MemoryDelivery(0), TOPICS)
    assert record.topic == "verdicts.block"
    assert record.key == "p\u00e9".encode()
    assert dict(record.headers)["verdict-id"] == made.verdict_id.encode()


def test_a_dead_letter_keeps_the_key_of_its_record() -> None:
    record = dead_letter_record(letter(b"{"), MemoryDelivery(3, b"{", key=b"raw"), TOPICS)
    assert (record.topic, record.key) == ("posts.deadletter", b"raw")


def test_cutting_a_dead_letter_shrinks_it_to_its_proof_and_then_ends() -> None:
    event: DeadLetter | MadeVerdict | None = letter(b"x" * 100_000)
    assert isinstance(event, DeadLetter)
    whole, sizes = event, []
    while event is not None:
        assert isinstance(event, DeadLetter)
        sizes.append(len(encode(event)))
        base64.b64decode(event.payload, validate=True)
        assert event.payload_hash == whole.payload_hash
        assert event.origin == whole.origin
        last, event = event, cut(event)
    assert sizes == sorted(sizes, reverse=True)
    assert last.payload == ""
    assert last.truncated


def test_cutting_a_verdict_keeps_its_decision_and_ends() -> None:
    made = verdict()
    smaller = cut(made)
    assert isinstance(smaller, MadeVerdict)
    assert smaller.reason is None
    assert (smaller.verdict_id, smaller.action, smaller.scores) == (made.verdict_id, made.action, made.scores)
    assert cut(smaller) is None
