"""Scripts: in which writing the letters of a text are. Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def scripts(text: str) -> frozenset[str]:
    """First words of the Unicode names of a text's letters, such as ``LATIN``; marks, digits and signs have none."""
    return frozenset(filter(None, map(_script, set(text))))


def is_written_in(text: str, known: Sequence[str]) -> bool:
    """True if a text has letters of the first of these scripts, and of no others than these.

    Latin words stand in texts of every language: alone, they are most likely another one than the tag says.
    """
    found = scripts(text)
    return known[0] in found and found.issubset(known)


@lru_cache(maxsize=1 << 16)
def _script(one: str) -> str:
    return unicodedata.name(one, "UNNAMED").partition(" ")[0].partition("-")[0] if one.isalpha() else ""
