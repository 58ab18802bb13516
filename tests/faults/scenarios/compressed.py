"""Batches that are small on the brokers and unpack to more than a worker may have in memory."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
from confluent_kafka import Producer

from faults.administrator import delete_topics
from faults.scenario import scenario
from support import command
from support.collector import Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.kubelet import Kubelet
    from faults.stage import Stage

_MIB = 2**20
_LIMIT_BYTES = 768 * _MIB
_LOOK_S = 0.02
_DELIVERED_S = 120.0
_MOST_UNPACKED = {"gzip": 500, "lz4": 220, "zstd": 500}
"""Records of 1 MiB whose one batch still fits into Kafka's 1 MiB for a batch."""
_UNPACKED = 60  # far less than a client takes in one answer
_BATCHES, _EACH = 60, 15


class MemoryLimit:
    """Kills each worker that takes more memory than a container would give it. Linux; elsewhere nobody is killed.

    Use as a context manager.
    """

    def __init__(self, kubelet: Kubelet, limit_bytes: int) -> None:
        self._kubelet = kubelet
        self._limit_bytes = limit_bytes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory limit", daemon=True)
        self.killed = 0
        self.most_bytes = 0
        """The most that any worker had at once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            for worker in self._kubelet.workers:
                taken = _most_taken(worker.pid)
                self.most_bytes = max(self.most_bytes, taken)
                if taken > self._limit_bytes:
                    self._kubelet.kill(worker)
                    self.killed += 1


def _most_taken(pid: int) -> int:
    """The most memory that a process had at once; 0 where nobody tells."""
    with contextlib.suppress(OSError, KeyError):
        status = Path(f"/proc/{pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return 0


@scenario(number=21, name="unpacks-from-gzip")
def unpacks_from_gzip(stage: Stage) -> None:
    """One batch of half a megabyte unpacks to 500 MiB."""
    _one_batch_at_a_time(stage, "gzip")


@scenario(number=21, name="unpacks-from-lz4")
def unpacks_from_lz4(stage: Stage) -> None:
    """One batch of 1 MiB unpacks to 220 MiB, the most that this form can."""
    _one_batch_at_a_time(stage, "lz4")


@scenario(number=21, name="unpacks-from-zstd")
def unpacks_from_zstd(stage: Stage) -> None:
    """One batch of 24 kB unpacks to 500 MiB."""
    _one_batch_at_a_time(stage, "zstd")


@scenario(number=21, name="unpacks-in-one-fetch")
def unpacks_in_one_fetch(stage: Stage) -> None:
    """Sixty batches of 1 kB, each unpacking to 15 MiB, fit into one answer to a fetch."""
    _bombs(stage, "zstd", [_EACH] * _BATCHES)


def _one_batch_at_a_time(stage: Stage, codec: str) -> None:
    _bombs(stage, codec, [_UNPACKED, _MOST_UNPACKED[codec]])


def _bombs(stage: Stage, codec: str, batches: Sequence[int]) -> None:
    """Send batches of so many records, a usual post behind each, and only then let a worker read them.

    The topic is made as ``topics create`` makes it. What the brokers refuse was never accepted.
    """
    lane = stage.lane
    delete_topics(lane.bootstrap, [lane.posts])
    names = {"kafka.bootstrap_servers": lane.bootstrap, "topics.posts": lane.posts}
    names |= {f"topics.{name}": topic for name, topic in lane.outputs.items()}
    names |= {"topics.control": f"{lane.prefix}.control"}
    created = command.run(
        "topics", "create", "--partitions", "1", "--replication", "1", **command.variables_of(names)
    )
    assert created.returncode == 0, created.stderr
    refused: list[str] = []
    for number, records in enumerate(batches):
        stage.sent += send_as_one_batch(stage, codec, f"large-{number}", records, refused)
        stage.sent += lane.send([{"id": f"behind-{number}", "text": "a usual post"}])
    accepted = len(stage.sent) - len(batches)
    kubelet = stage.kubelet(1)
    with MemoryLimit(kubelet, _LIMIT_BYTES) as limit:
        stage.wait_answered()
        stage.require(limit.killed == 0, f"{limit.killed} times a worker took more than 768 MiB")
    stage.note(
        "unpacked",
        accepted=accepted,
        refused=len(refused),
        refused_with=", ".join(sorted(set(refused))) or "-",
        most_mib=round(limit.most_bytes / _MIB),
    )


def send_as_one_batch(stage: Stage, codec: str, name: str, records: int, refused: list[str]) -> list[Sent]:
    """Send records of 1 MiB to partition 0 in one compressed batch, and say which of them were accepted.

    Args:
        stage: Whose topic gets them.
        codec: As Kafka's clients name it.
        name: Begins their ids.
        records: How many.
        refused: Gets the error's name of each that was not accepted.
    """
    producer = Producer(
        {
            "bootstrap.servers": stage.lane.bootstrap,
            "compression.type": codec,
            "message.max.bytes": 1_000_000_000,
            "batch.size": 1_000_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
            "linger.ms": 10_000,
            "log_level": 2,
        }
    )
    accepted: list[Sent] = []

    def delivered(error: Any, message: Any, post_id: str) -> None:
        if error is not None:
            refused.append(error.name())
        else:
            accepted.append(Sent(message.topic(), message.partition(), message.offset(), post_id))

    for number in range(records):
        post_id = f"{name}-{number}"
        begin = orjson.dumps({"id": post_id, "text": ""}).removesuffix(b'"}')
        producer.produce(
            stage.lane.posts,
            begin.ljust(_MIB - 2, b"7") + b'"}',
            partition=0,
            on_delivery=lambda error, message, post_id=post_id: delivered(error, message, post_id),
        )
    left = producer.flush(_DELIVERED_S)
    assert not left, f"{left} records were not delivered"
    return accepted
