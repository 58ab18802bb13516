"""The clock: the one place that reads time, so that tests can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


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
    return round(max(0.0, seconds) * 1000, 3)
