"""A worker whose machine is out of order, run in place of ``python -m sluicegate worker``.

The environment says how: ``HAMPERED_FILE_BYTES`` is the size that no file may pass,
``HAMPERED_OUTPUT`` a file in place of standard output and error, ``HAMPERED_CLOCK`` a file with the
seconds by which the wall clock is wrong, read again each time, ``HAMPERED_PRODUCER`` the share of
deliveries at which librdkafka reports a fatal error, and ``HAMPERED_DEATH`` the file in which
:mod:`faults.death` orders a death.
"""

from __future__ import annotations

import os
import random
import resource
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from faults.death import die_as_ordered
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.command import main
from sluicegate.pipeline.kafka.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from confluent_kafka import Producer

CLOCK, DEATH, FILE_BYTES, OUTPUT, PRODUCER = (
    f"HAMPERED_{name}" for name in ("CLOCK", "DEATH", "FILE_BYTES", "OUTPUT", "PRODUCER")
)


def limit_files(size_bytes: int) -> None:
    """Refuse every write that makes a file larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def redirect_output(path: str) -> None:
    """Send standard output and error to a file."""
    file = os.open(path, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)


def follow_clock(path: Path) -> None:
    """Move the wall clock, ours and the libraries', by the seconds that a file holds."""
    right_time, right_utc = time.time, Clock.utc

    def off_s() -> float:
        return float(path.read_text())

    def wrong_utc(clock: Clock) -> datetime:
        return right_utc(clock) + timedelta(seconds=off_s())

    time.time = lambda: right_time() + off_s()
    Clock.utc = wrong_utc  # type: ignore[assignment, method-assign] # that is the fault


def kill_producer(share: float) -> None:
    """Let a share of the deliveries end in an error after which librdkafka's producer is of no use."""
    send = Publisher._send

    async def _send(
        publisher: Publisher, records: Sequence[Any], producer: Producer
    ) -> list[tuple[Any, KafkaError]]:
        failed = await send(publisher, records, producer)
        if random.random() < share:
            return [(records[0], KafkaError(KafkaError.UNKNOWN_PRODUCER_ID, "injected", fatal=True))]
        return failed

    Publisher._send = _send  # type: ignore[assignment, method-assign] # that is the fault


def hamper() -> None:
    """Put this process out of order, as its environment says."""
    for name, break_ in (
        (PRODUCER, lambda value: kill_producer(float(value))),
        (CLOCK, lambda value: follow_clock(Path(value))),
        (DEATH, lambda value: die_as_ordered(Path(value))),
        (OUTPUT, redirect_output),
        (FILE_BYTES, lambda value: limit_files(int(value))),
    ):
        if value := os.environ.get(name):
            break_(value)


if __name__ == "__main__":
    hamper()
    main()
