"""Quarantine: asking the engine about suspects while nothing else is in work, and remembering who killed it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

_KILLERS = 1024
KILLERS_S = 600.0
"""A text that killed the engine is not sent again for so long. Short, since a network that flaps in just the wrong
rhythm may have condemned an innocent one; long beside the crash loop that one copy after the other would make."""


class Quarantine:
    """Many may be ``among`` others, or one ``alone``; whoever wants to be alone goes first."""

    def __init__(self) -> None:
        self._count = 0
        self._turn = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def closed(self) -> bool:
        """True while somebody is alone, or is about to be."""
        return not self._open.is_set()

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


class Killers:
    """The texts that killed the engine lately, by their prompts' keys; this process's own memory, bounded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, key: Hashable) -> None:
        """Remember one; beyond the bound the oldest is forgotten."""
        self._until.pop(key, None)
        self._until[key] = self._clock() + KILLERS_S
        if len(self._until) > _KILLERS:
            self._until.popitem(last=False)

    def __contains__(self, key: Hashable) -> bool:
        """True if it killed the engine within the last ten minutes."""
        return self._until.get(key, float("-inf")) > self._clock()
