"""Records that are small on the broker and large in the worker: what producers compressed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from support.collector import ends

if TYPE_CHECKING:
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

MIB = 2**20
POSTS = 120
TEXT = "7" * 250_000
BOMB_BYTES = 48 * MIB


def send_as_one_batch(lane: Lane, values: list[bytes]) -> None:
    """Publish all values to one partition in one compressed batch, however large it is without compression."""
    producer = Producer(
        {
            "bootstrap.servers": lane.bootstrap,
            "compression.type": "zstd",
            "message.max.bytes": 100 * MIB,
            "batch.size": 100 * MIB,
            "linger.ms": 5000,
            "log_level": 2,
        }
    )
    failed: list[Any] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error)

    for value in values:
        producer.produce(lane.posts, value, partition=0, on_delivery=delivered)
    assert producer.flush(60) == 0
    assert not failed


def peak_bytes(worker: WorkerProcess) -> int | None:
    """The most memory that a worker had at once; None where the system does not say."""
    status = Path(f"/proc/{worker.pid}/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@pytest.fixture
def worker(lane: Lane) -> WorkerProcess:
    started = lane.start({"window.bytes": str(8 * MIB)})
    started.wait_ready()
    return started


def test_a_small_batch_of_large_posts_is_judged_post_by_post(lane: Lane, worker: WorkerProcess) -> None:
    before = peak_bytes(worker)
    values = [json.dumps({"id": f"p{number}", "text": TEXT}).encode() for number in range(POSTS)]
    send_as_one_batch(lane, values)
    lane.wait_acknowledged(within_s=120)
    found = Counter(record.body["post_id"] for record in lane.read())
    assert found == {f"p{number}": 1 for number in range(POSTS)}
    after = peak_bytes(worker)
    if before is not None and after is not None:
        # Of a batch everything is unpacked at once, and then copied record by record.
        whole = sum(map(len, values))
        print(f"peak {before / MIB:.0f} -> {after / MIB:.0f} MiB for {whole / MIB:.0f} MiB")
        assert after - before < 6 * whole


def test_a_small_record_that_unpacks_beyond_the_limit_is_a_dead_letter(
    lane: Lane, worker: WorkerProcess
) -> None:
    neighbour = json.dumps({"id": "behind", "text": "a normal text"}).encode()
    send_as_one_batch(lane, [b" " * BOMB_BYTES])
    send_as_one_batch(lane, [neighbour])
    assert ends(lane.bootstrap, lane.posts)[0] == 2
    lane.wait_acknowledged(within_s=60)
    records = lane.read()
    (letter,) = [record.body for record in records if record.is_dead_letter]
    assert (letter["code"], letter["payload_bytes"], letter["truncated"]) == ("oversize", BOMB_BYTES, True)
    assert [record.body["post_id"] for record in records if not record.is_dead_letter] == ["behind"]
