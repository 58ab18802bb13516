"""What the stages of folding share: their answer, and patterns that match quickly.

Beyond the basic plane a pattern's class is searched entry by entry, with the interpreter's lock held: a thousand
single letters would stop every other thread for most of a second on a text of the largest size.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


Result: TypeAlias = tuple[str, frozenset[str]]
"""The text, and the rules that fired."""

NOTHING: frozenset[str] = frozenset()
"""No rule fired."""


class FoldStage(NamedTuple):
    """One step of folding, and a look that says whether it is worth taking: most texts need none."""

    change: Callable[[str], Result]
    concerns: Callable[[str], bool]
    """False only of a text that ``change`` leaves as it is, without a rule that fires. It costs a small part of it."""


def one_of(codes: Iterable[int]) -> str:
    """The class of these code points, in ranges; none of them may have a meaning within a class, as ``]`` has."""
    ordered = sorted(codes)
    starts = [ordered[0], *(after for before, after in pairwise(ordered) if after != before + 1)]
    ends = [*(before for before, after in pairwise(ordered) if after != before + 1), ordered[-1]]
    ranges = (f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return f"[{''.join(ranges)}]"
