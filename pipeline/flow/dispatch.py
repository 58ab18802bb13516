"""The last two steps of a post's path, wherever its answer comes from: deliver, then acknowledge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sluicegate.pipeline.flow.answers import Answer
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.records import Forwarded, Outlet
from sluicegate.schemas import DeadLetter, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


class Dispatch:
    """One per flow; one event loop.

    Args:
        window: Holds the posts; finished here.
        outlet: Where records go.
        instruments: What watches.
    """

    def __init__(self, window: Window, outlet: Outlet, instruments: Instruments) -> None:
        self._window = window
        self._outlet = outlet
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing
        self._delivering: set[asyncio.Future[None]] = set()

    async def publish(self, answered: Sequence[Answer]) -> None:
        """8 and 9: deliver, then acknowledge. Cancelled where all is given back meanwhile."""
        if not answered:
            return
        with self._tracing.publish(answered) as records:
            delivering = asyncio.ensure_future(self._outlet.publish(records))  # 8
            self._delivering.add(delivering)
            delivering.add_done_callback(self._delivering.discard)
            await delivering
        self._count(answered)
        for answer in answered:
            self._window.finish(answer.slot)  # 9

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        for delivering in self._delivering:
            delivering.cancel()  # and with it the task that waits for it
        return self._window.release()

    def _count(self, answered: Sequence[Answer]) -> None:
        delivered: list[tuple[Verdict | DeadLetter, int | None]] = []
        for answer in answered:
            record = answer.record
            if isinstance(record, Forwarded):
                self._metrics.forwarded.labels(str(record.sampled).lower()).inc()
            else:
                delivered.append((record.event, answer.slot.delivery.timestamp_ms))
        self._metrics.count(delivered, now_ms=self._clock.utc().timestamp() * 1000)
