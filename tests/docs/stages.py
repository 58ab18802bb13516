"""What lies in a page's folder, or stands on its broker, before its blocks run; and variables that they use."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from docs.pages import ROOT, blocks
from sluicegate.schemas import DeadLetter, Origin, dead_letter_id, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluicegate.testing import LocalBroker


def _produce(broker: LocalBroker, topic: str, *records: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.kafka.bootstrap_servers, "log_level": 2})
    for record in records:
        producer.produce(topic, record)
    assert producer.flush(20) == 0


def _rows(folder: Path, _: LocalBroker) -> dict[str, str]:
    rows, manifest = (
        one for one in blocks("adapt", "json") if '"group"' in one.text or '"sources"' in one.text
    )
    (folder / "labelled.jsonl").write_text(rows.text, encoding="utf-8")
    (folder / "manifest.json").write_text(manifest.text, encoding="utf-8")
    return {}


def _letter(_: Path, broker: LocalBroker) -> dict[str, str]:
    payload, origin = b"{bad", Origin(topic=broker.topics.posts, partition=1, offset=0)
    letter = DeadLetter(
        dead_letter_id=dead_letter_id(origin),
        code="invalid_json",
        detail="not JSON at character 1",
        origin=origin,
        payload=base64.b64encode(payload).decode(),
        payload_bytes=len(payload),
        payload_hash=f"sha256:{hashlib.sha256(payload).hexdigest()}",
        rejected_at=datetime(2026, 3, 1, 8, tzinfo=UTC),
    )
    _produce(broker, broker.topics.dead_letter, encode(letter))
    return {"ID": letter.dead_letter_id}


def _verdicts(_: Path, broker: LocalBroker) -> dict[str, str]:
    golden = (ROOT / "tests" / "golden" / "v1.0" / "verdict").glob("*.json")
    _produce(broker, broker.topics.allow, *(path.read_bytes() for path in golden))
    return {}


def _policies(folder: Path, _: LocalBroker) -> dict[str, str]:
    (folder / "next.yaml").write_text('name: forum\nversion: "1"\nrules:\n  preset: balanced\n')
    verdict = json.loads((ROOT / "tests/golden/v1.0/verdict/allowed.json").read_text(encoding="utf-8"))
    (folder / "verdicts.jsonl").write_text(json.dumps(verdict) + "\n")
    return {}


STAGES: dict[str, Callable[[Path, LocalBroker], dict[str, str]]] = {
    "docs/adapt.md": _rows,
    "docs/operations.md": _letter,
    "docs/kubernetes.md": _policies,
    "docs/policy.md": _verdicts,
}
