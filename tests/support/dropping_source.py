"""Workers that lose sight of fetched records, as a rebalance may; faults, for tests.

``DROPS=<name> python -m support.dropping_source worker`` runs in place of ``sluicegate worker``:

``fetch``   The first fetch of the process comes back while the flow is suspended, as one does that was asked for when the
            rebalance had begun and Faust did not know yet: aiokafka holds it until the next assignment.
``first``   The first records of every partition are dropped before they are handed over. Nothing of ours does that.
``late``    They are dropped behind that, on their way to the flow. Nothing of ours does that either.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

from sluicegate.pipeline.command import main
from sluicegate.pipeline.kafka import faust_app as source_faust

WHICH = "DROPS"
DROPPED = 5
"""Records of each partition that ``first`` and ``late`` drop."""
_SUSPENDED_S = 0.3


def fetch() -> None:
    """Suspend the flow while the first records are on their way from the consumer's thread."""
    getmany = source_faust._Consumer._getmany
    done: list[bool] = []

    async def _getmany(consumer: Any, *args: Any, **options: Any) -> Any:
        records = await getmany(consumer, *args, **options)
        if records and not done:
            done.append(True)
            consumer.stop_flow()
            asyncio.get_running_loop().call_later(_SUSPENDED_S, consumer.resume_flow)
        return records

    source_faust._Consumer._getmany = _getmany


def first() -> None:
    """Drop the first records of each partition, once, of what the consumer's thread fetched."""
    dropped: Counter[Any] = Counter()
    getmany = source_faust._Consumer._getmany

    async def _getmany(consumer: Any, *args: Any, **options: Any) -> Any:
        records = await getmany(consumer, *args, **options)
        for partition, fetched in (records or {}).items():
            cut = min(DROPPED - dropped[partition], len(fetched))
            dropped[partition] += cut
            del fetched[:cut]
        return records

    source_faust._Consumer._getmany = _getmany


def late() -> None:
    """Let the consumer refuse the first records of each partition, once, on their way to the flow."""
    refused: Counter[Any] = Counter()
    track = source_faust._Consumer.track

    def _track(consumer: Any, message: Any) -> bool:
        if refused[message.tp] < DROPPED:
            refused[message.tp] += 1
            return False
        return track(consumer, message)

    source_faust._Consumer.track = _track  # type: ignore[assignment, method-assign] # that is the fault


if __name__ == "__main__":
    {"fetch": fetch, "first": first, "late": late}[os.environ[WHICH]]()
    main()
