"""What stands in for a model behind the stand-in: numbers drawn from a prompt's digest, with switches for faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sluicegate.schemas import CATEGORIES
from support.small_bundle import small_tokenizer
from support.trtllm_bundle import PADDED

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABELS = (" Safe", " Controversial", " Unsafe")
_BOOST = 8.0
ASTRAY = 30.0
"""Of a token that is no label: so likely that the labels are candidates and hold next to nothing."""
BLOCK = 32


@dataclass
class Brain:
    """Draws logits, remembers cached prefixes, and fails where it is told to."""

    faults: dict[str, str | None] = field(default_factory=dict)
    """Fault to marker; None hits all."""
    logits_dtype: str = "float32"
    partial_blocks: int = 0
    """Quirk: blocks that are reused in part, which an engine counts as whole ones."""
    spare_rows: int = 0
    """Quirk: rows of logits beyond the tokens, which the documentation speaks of."""
    keeps_end: bool = True
    """Quirk: whether the end token is among the answer's ids."""
    step_s: float = 0.002
    blocks: set[bytes] = field(default_factory=set)

    def hit(self, fault: str, token_ids: Sequence[int]) -> bool:
        """Whether a fault is on for this prompt."""
        if fault not in self.faults:
            return False
        marker = self.faults[fault]
        return marker is None or marker in small_tokenizer().decode(token_ids)

    def logits(self, token_ids: Sequence[int], vocab_size: int) -> Any:
        """Logits of the next token, the same for the same prompt."""
        digest = hashlib.sha256(np.asarray(token_ids, np.int64).tobytes()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        values = draw.normal(0, 1, vocab_size)
        for name in self._expected(token_ids):
            values[small_tokenizer().encode_static(name)[0]] = _BOOST + draw.normal(0, 2)
        if self.hit("labels_missing", token_ids) and not self.explains(token_ids):
            for name in _LABELS:
                values[small_tokenizer().encode_static(name)[0]] = -1e5
        if self.hit("astray", token_ids) and not self.explains(token_ids):
            values[small_tokenizer().encode_static("x")[0]] = ASTRAY
        return values

    def explains(self, token_ids: Sequence[int]) -> bool:
        """Whether a category is expected next."""
        return small_tokenizer().decode(token_ids).endswith("Categories:")

    def text(self, token_ids: Sequence[int]) -> str:
        """An explanation in its shape: the likeliest category, and a refusal for a response."""
        response = "Rate the response" in small_tokenizer().decode(token_ids)
        values = self.logits(token_ids, PADDED)
        names = [name for name in self._expected(token_ids) if not (response and name == " Jailbreak")]
        best = max(names, key=lambda name: values[small_tokenizer().encode_static(name)[0]])
        if self.hit("garble", token_ids):
            return " Sexual Content or"
        return best + ("\nRefusal: No" if response else "")

    def cached(self, token_ids: Sequence[int]) -> int:
        """Leading tokens whose whole blocks an earlier, finished prompt left."""
        count = 0
        while count + BLOCK < len(token_ids) and self._block(token_ids, count + BLOCK) in self.blocks:
            count += BLOCK
        return count

    def keep(self, token_ids: Sequence[int]) -> None:
        """Leave a finished prompt's blocks in the cache."""
        self.blocks |= {self._block(token_ids, end) for end in range(BLOCK, len(token_ids) + 1, BLOCK)}

    @staticmethod
    def _block(token_ids: Sequence[int], end: int) -> bytes:
        return hashlib.sha256(repr(tuple(token_ids[:end])).encode()).digest()

    def _expected(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        if self.explains(token_ids):
            return tuple(f" {name}" for name in (*CATEGORIES, "None"))
        return _LABELS
