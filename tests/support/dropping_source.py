"""A worker whose hand-over drops the first records of every partition, as a rebalance may; a fault, for tests.

``python -m support.dropping_source worker`` runs in place of ``sluicegate worker``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sluicegate.pipeline import source_faust
from sluicegate.pipeline.command import main

DROPPED = 5
"""Records of each partition that are fetched and never reach the flow."""


def drop_the_first() -> None:
    """Let the consumer of this process refuse the first records of each partition, once."""
    refused: Counter[Any] = Counter()
    track = source_faust._Consumer.track

    def _track(consumer: Any, message: Any) -> bool:
        if refused[message.tp] < DROPPED:
            refused[message.tp] += 1
            return False
        return track(consumer, message)

    source_faust._Consumer.track = _track  # type: ignore[assignment, method-assign] # that is the fault


if __name__ == "__main__":
    drop_the_first()
    main()
