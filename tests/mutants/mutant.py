"""A mutant: one handling of failure, and what is left when it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One removal."""

    name: str
    why: str
    """What would happen to posts without this handling."""
    file: str
    """Below the root of the repository."""
    text: str
    """What is removed; stands in the file exactly once."""
    instead: str
    tests: tuple[str, ...]
    """Node ids of pytest that must notice; fast ones, without a broker."""

    def stands(self, root: Path = ROOT) -> int:
        """How often the text stands in its file: anything but 1 makes this a stale mutant."""
        path = root / self.file
        return path.read_text(encoding="utf-8").count(self.text) if path.is_file() else 0
