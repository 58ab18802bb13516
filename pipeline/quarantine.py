"""Quarantine: asking the engine about suspects while nothing else is in work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Quarantine:
    """Many may be ``among`` others, or one ``alone``; whoever wants to be alone goes first."""

    def __init__(self) -> None:
        self._count = 0
        self._turn = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def among(self) -> AsyncIterator[None]:
        """Work side by side with others, once nobody is alone."""
        while not self._open.is_set():
            await self._open.wait()
        self._count += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Work with nobody beside: waits for those at work, and keeps others out."""
        async with self._turn:
            self._open.clear()
            try:
                await self._empty.wait()
                yield
            finally:
                self._open.set()
