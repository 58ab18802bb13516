"""What the engine found of texts, by their reduced form: bounded in entries and bytes, and expiring. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sluicegate.schemas import Assessment

_ENTRY_BYTES = 400
"""A key and an entry without an assessment."""
_ASSESSMENT_BYTES = 1_200
"""An assessment without words. With its entry 1,593 bytes, and explained 2,668: resident memory, measured over
100,000 entries of the same objects on CPython 3.11."""
_CHARACTER_BYTES = 4
_SCORE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Known:
    """What became of a text that was judged."""

    assessment: Assessment | None
    """As the engine gave it; None where it was too unsure to stand for another text."""
    verdict_id: str
    expires_at: float
    """Monotonic seconds."""
    folded: bool = False
    """True if it is a finding on the text's folded form."""

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        if self.assessment is None:
            return _ENTRY_BYTES
        words = len(self.assessment.reason or "") + sum(map(len, self.assessment.categories))
        scores = len(self.assessment.category_scores) * _SCORE_BYTES
        return _ENTRY_BYTES + _ASSESSMENT_BYTES + words * _CHARACTER_BYTES + scores


class Index:
    """Least recently used goes first. One event loop; no locks.

    Args:
        entries: Most of them.
        size_bytes: Most bytes of all together.
    """

    def __init__(self, entries: int, size_bytes: int) -> None:
        self._most, self._most_bytes = entries, size_bytes
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self.size_bytes = 0
        """About what is held."""

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes, now: float) -> Known | None:
        """What is known, unless it has expired. To ask does not make it last longer."""
        known = self._known.get(key)
        if known is None:
            return None
        if now >= known.expires_at:
            self._drop(key)
            return None
        self._known.move_to_end(key)
        return known

    def put(self, key: bytes, known: Known) -> None:
        """Keep, dropping the least recently used beyond either bound."""
        self._drop(key)
        self._known[key] = known
        self.size_bytes += known.size_bytes
        while len(self._known) > self._most or self.size_bytes > self._most_bytes:
            self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self.size_bytes -= known.size_bytes
