"""A target: one reader of foreign input, and what must hold of it whatever the input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """Input is always bytes, so that every example can lie in the corpus as a file."""

    name: str
    """Also the name of its folder in the corpus."""
    inputs: SearchStrategy[bytes]
    check: Callable[[bytes], None]
    """Raises anything where the promise is broken."""

    def corpus(self) -> dict[str, bytes]:
        """The stored inputs by their file names."""
        return {
            path.name: path.read_bytes() for path in sorted((CORPUS / self.name).glob("*")) if path.is_file()
        }
