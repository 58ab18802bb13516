"""Forms of a text that are compared, never shown and never learnt from. Pure."""

from __future__ import annotations

import hashlib
import unicodedata

_LETTERS = 5
"""Width of a shingle in letters: one English word changed among fourteen leaves a similarity of 0.7."""
_IDEOGRAPHS = 3
"""The same where a character is a word or a syllable: Chinese, Japanese, Korean."""
_DIGEST_BYTES = 16


def plain_form(text: str) -> str:
    """NFKC, case folded, spaces collapsed: texts that differ in these alone are the same text."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def bare_form(text: str) -> str:
    """The plain form's letters, marks and numbers alone.

    Spaces, punctuation, emoji and invisible characters are what near copies are padded with. A text
    that has nothing else keeps its plain form.
    """
    plain = plain_form(text)
    return "".join(one for one in plain if unicodedata.category(one)[0] in "LMN") or plain


def shingles(bare: str) -> set[str]:
    """Every run of so many characters of a bare form; a shorter text is one run."""
    width = _IDEOGRAPHS if 2 * sum(map(_is_wide, bare)) > len(bare) else _LETTERS
    return {bare[at : at + width] for at in range(max(1, len(bare) - width + 1))}


def digest(*parts: str | None) -> bytes:
    """Sixteen bytes that stand for these parts; no choice of values moves a character between them."""
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        # A surrogate never gets here: JSON and CSV are read as UTF-8.
        encoded = b"" if part is None else part.encode()
        hashed.update(f"{'-' if part is None else len(encoded)}:".encode())
        hashed.update(encoded)
    return hashed.digest()


def _is_wide(one: str) -> bool:
    return unicodedata.east_asian_width(one) in "WF"
