"""The assessment cache: one judgement per distinct prompt, engine and adapter.

The key is the exact prompt, never the policy: deciding is cheap and pure, so hits survive a
policy change. Failures are never stored. Behind this worker's cache may stand one that all workers
share.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluicegate.engines.protocol import EngineInfo, Prompt
    from sluicegate.schemas import Assessment


def cache_key(prompt: Prompt, engine: EngineInfo) -> bytes:
    """Hash of the prompt's tokens, its kind, the engine's digest and its adapter.

    Layouts may show a prompt as they show a post, but each is calibrated, and so explained, in its own way.
    """
    head = f"{engine.digest}\0{engine.adapter or ''}\0{prompt.kind}\0".encode()
    return hashlib.blake2b(head + array("I", prompt.token_ids).tobytes(), digest_size=24).digest()


@dataclass(frozen=True, slots=True)
class Stored:
    """An assessment and the verdict that first carried it."""

    assessment: Assessment
    verdict_id: str | None
    """None where that verdict was still waiting for the post's other parts."""
    how: Literal["stored", "shared"] = "stored"
    """Whether this worker found it, or another."""


class SharedAssessments(Protocol):
    """What all workers have found. Its loss is a miss: neither call raises, or waits for long."""

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """What is known of these keys."""
        ...

    def put(self, key: bytes, stored: Stored) -> None:
        """Store, some time soon, if it is there."""
        ...


class AssessmentCache:
    """Bounded, least recently used goes first. One event loop; no locks."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._stored: OrderedDict[bytes, Stored] = OrderedDict()
        self.shared: SharedAssessments | None = None
        """Asked for what is not here, told of what is put here."""

    def __len__(self) -> int:
        return len(self._stored)

    def get(self, key: bytes) -> Stored | None:
        """Look up; a hit becomes the most recently used."""
        stored = self._stored.get(key)
        if stored is not None:
            self._stored.move_to_end(key)
        return stored

    async def fetch(self, keys: Iterable[bytes]) -> None:
        """Bring here what the shared cache knows of those keys that are not here."""
        if self.shared is None:
            return
        absent = [key for key in dict.fromkeys(keys) if key not in self._stored]
        for key, stored in (await self.shared.get_many(absent)).items():
            if key not in self._stored:  # this worker may have found it meanwhile
                self._keep(key, stored)

    def put(self, key: bytes, stored: Stored) -> None:
        """Store, dropping the least recently used beyond the bound."""
        self._keep(key, stored)
        if self.shared is not None:
            self.shared.put(key, stored)

    def _keep(self, key: bytes, stored: Stored) -> None:
        self._stored[key] = stored
        self._stored.move_to_end(key)
        while len(self._stored) > self._entries:
            self._stored.popitem(last=False)
