"""Runs in which a text repeats itself: a word or a sign, time after time. Pure; needs numpy."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

Range: TypeAlias = tuple[int, int]
"""Half-open range of characters."""

TIMES: Final = 8
"""What comes so often in a row is a run."""
LONGEST: Final = 40
"""Of what is repeated; in characters."""


def repeated(text: str) -> list[Range]:
    """Every run in which up to :data:`LONGEST` characters come :data:`TIMES` times or more, in order; they do not touch.

    Linear in the text: it is compared with itself, shifted by each length.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    edges = np.zeros(len(codes) + 1, dtype=np.int64)
    for period in range(1, min(LONGEST, len(codes) // TIMES) + 1):
        firsts, ends = _true_runs(codes[period:] == codes[:-period])
        long = ends - firsts >= (TIMES - 1) * period
        np.add.at(edges, firsts[long], 1)
        np.add.at(edges, ends[long] + period, -1)
    firsts, ends = _true_runs(np.cumsum(edges) > 0)
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


def _true_runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and end of every run of true flags."""
    turns = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return turns[::2], turns[1::2]
