"""Records as a run would find them on the output topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.pipeline.trial.bench.ledger import Ledger
from sluicegate.pipeline.trial.bench.load import Shape, plan_arrivals

TOPICS = TopicSettings()
BEGAN_MS = 1_700_000_000_000.0


def ledger(posts: int = 10, *, sent: int | None = None, late_ms: float = 2.0) -> Ledger:
    """A ledger whose first posts are sent, each so late after its arrival."""
    arrivals = plan_arrivals(Shape.CONSTANT, rate=1, duration_s=posts, seed=0)
    found = Ledger("run", arrivals, TOPICS)
    found.began_ms = BEGAN_MS
    for number in range(posts if sent is None else sent):
        found.note_sent(number, at_ms=arrived_ms(found, number) + late_ms, size=100)
    return found


def arrived_ms(found: Ledger, number: int) -> float:
    """The arrival of a post, Unix milliseconds."""
    return BEGAN_MS + found.arrivals.at_s[number] * 1000


def verdict(
    found: Ledger,
    number: int,
    *,
    topic: str = TOPICS.allow,
    verdict_id: str = "v",
    decided_ms: float = 60.0,
    stamped_ms: float = 70.0,
    **fields: Any,
) -> TopicRecord:
    """A verdict: decided and stamped so long after its post's arrival; 20 ms in the queue, 30 in the engine."""
    arrived = arrived_ms(found, number)
    decided = datetime.fromtimestamp((arrived + decided_ms) / 1000, UTC)
    document = {
        "verdict_id": verdict_id,
        "post_id": f"bench-run-{number}",
        "assessed_by": "engine",
        "engine": {"backend": "fake", "model": "fake"},
        "judged_at": decided.isoformat(),
        "timings": {"queued_ms": 20.0, "engine_ms": 30.0, "total_ms": 50.0},
        **fields,
    }
    return TopicRecord(topic, 0, 0, None, json.dumps(document).encode(), round(arrived + stamped_ms))


def dead_letter(found: Ledger, number: int, *, letter_id: str = "d") -> TopicRecord:
    """A dead letter, known by the key of the record that it buries."""
    key = f"bench-run-{number}".encode()
    value = json.dumps({"dead_letter_id": letter_id}).encode()
    return TopicRecord(TOPICS.dead_letter, 0, 0, key, value, round(arrived_ms(found, number) + 50))
