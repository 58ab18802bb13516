"""Places: how much is in flight at an engine, and who of those that wait goes next."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Places:
    """A bounded number of places. One event loop.

    Those that wait go in order, all their places at once. Explanations go before scores: the post behind one has
    waited for its score already, and the engine still has its prefix. They cannot starve the scores, because each of
    them follows one.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._explanations: deque[_Waiter] = deque()
        self._scores: deque[_Waiter] = deque()

    @asynccontextmanager
    async def take(self, count: int = 1, *, explains: bool = False) -> AsyncIterator[None]:
        """Hold some places for the length of the block.

        Args:
            count: How many; no more than there are.
            explains: Go before those that do not.
        """
        line = self._explanations if explains else self._scores
        waiter = _Waiter(count, asyncio.get_running_loop().create_future())
        line.append(waiter)
        self._grant()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._leave(line, waiter)
            raise
        try:
            yield
        finally:
            self._free += count
            self._grant()

    def _leave(self, line: deque[_Waiter], waiter: _Waiter) -> None:
        if waiter in line:
            line.remove(waiter)
        else:  # its turn came as it was cancelled
            self._free += waiter.count
        self._grant()

    def _grant(self) -> None:
        while line := self._explanations or self._scores:
            if line[0].count > self._free:
                return
            waiter = line.popleft()
            self._free -= waiter.count
            waiter.turn.set_result(None)


class _Waiter:
    """One that waits for its turn."""

    __slots__ = ("count", "turn")

    def __init__(self, count: int, turn: asyncio.Future[None]) -> None:
        self.count = count
        self.turn = turn
