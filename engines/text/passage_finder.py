"""What of a long text is judged apart, and who says so. Pure; needs no library."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Passage(NamedTuple):
    """A half-open range of characters that is to be judged apart."""

    start: int
    end: int
    least_unsafe: float = 0.0
    """What is found of it counts only with this P(unsafe) or more."""


class PassageFinder(Protocol):
    """Says which passages of a text are to be judged apart."""

    def riskiest(self, text: str) -> Sequence[Passage]:
        """The riskiest first; none of most texts."""
        ...
