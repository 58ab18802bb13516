"""The clock: the one place that reads time, so that tests can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

OLDEST_S = 7 * 86_400.0
"""The greatest age that a record's timestamp is believed to tell, in seconds.

Kafka keeps a record for seven days by default. An older timestamp is wrong, or of a text that was
sent again: it does not tell for how long a post has waited.
"""

AHEAD_S = 60.0
"""By how much a record's timestamp may be ahead of this machine's clock, in seconds: clocks drift by less."""


class Clock:
    """Monotonic seconds for durations, UTC for stamps, and waiting."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def utc(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, *, until: float | None) -> None:
        """Return when the event is set, or at a monotonic time."""
        if until is None:
            await event.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, until - self.monotonic())):
                await event.wait()
        except TimeoutError:
            pass


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds with three digits, never negative."""
    return round(seconds * 1000, 3) if seconds > 0 else 0.0
