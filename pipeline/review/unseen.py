"""Characters that nobody sees: they turn a line around, or hide in a word."""

from __future__ import annotations

import unicodedata


def spelt_out(text: str) -> str:
    """A text in which every character that one cannot see stands as its code, such as ``⟨U+200B⟩``."""
    return "".join(f"⟨U+{ord(one):04X}⟩" if _is_unseen(one) else one for one in text)


def unseen(text: str) -> int:
    """How many characters of a text one cannot see."""
    return sum(map(_is_unseen, text))


def _is_unseen(one: str) -> bool:
    return one not in "\n\r\t" and unicodedata.category(one) in {"Cf", "Cc", "Cn", "Co", "Zl", "Zp"}
