"""Letters drawn out: killlll, sooooo, fuuuck, كـــتـب.

How many a word had cannot be known without its dictionary. Doubles stay where languages write them:
ll, ss, ff, zz at the end, a consonant between vowels, ee and oo between consonants.
"""

from __future__ import annotations

import re
import unicodedata

from sluicegate.engines.text.forms.result import NOTHING, Result

_FIRED = frozenset({"repeats"})
# Addresses, which end at empty Braille (U+2800) as at any blank, and Roman numerals are passed over; what is drawn
# out is one letter, three times or more.
_DRAWN = re.compile(
    r"(?P<skip>(?:https?://|www\.)[^\s\u2800]+|(?<![A-Za-z])[IVXLCDM]{3,}(?![A-Za-z]))|(?P<letter>[^\W\d_])(?P=letter){2,}"
)
_THREE = re.compile(r"([^\W\d_])\1\1")
"""Without such a place nothing is drawn out, and most texts have none; to look takes half the time."""
_KASHIDA = re.compile("(?<=[\u0620-\u064a])\u0640+(?=[\u0620-\u064a])")
_VOWELS = frozenset("aeiouyаеёиоуыэюяіїєαεηιουω")
_DOUBLED_AT_END = frozenset("lsfz")
_DOUBLED_WITHIN = frozenset("eoо")
_TRIPLED = frozenset("flmnprst")
"""Where German joins two words a consonant may stand three times."""


def without_repeats(text: str) -> Result:
    """Shorten what is drawn out. Words of one letter, such as www, hhh or xxx, stay."""
    folded = _DRAWN.sub(_shorter, text) if _THREE.search(text) is not None else text
    if not text.isascii():
        folded = _KASHIDA.sub("", folded)
    return folded, _FIRED if folded != text else NOTHING


def _shorter(match: re.Match[str]) -> str:
    letter = match["letter"]
    if letter is None or not _is_letter(letter):
        return match[0]
    text, run = match.string, match[0]
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if not _is_letter(before) and not _is_letter(after):
        return run
    return letter * _times(letter, len(run), before, after)


def _times(letter: str, times: int, before: str, after: str) -> int:
    """How often a letter drawn out ``times`` times stood there before."""
    if _is_vowel(letter):
        between = _is_letter(before) and _is_letter(after) and not _is_vowel(before) and not _is_vowel(after)
        return 2 if between and letter.lower() in _DOUBLED_WITHIN else 1
    if not _is_letter(after):
        return 2 if letter.lower() in _DOUBLED_AT_END and _is_vowel(before) else 1
    if not _is_letter(before):
        return 1
    if times == 3 and letter.lower() in _TRIPLED:
        return 3  # Schifffahrt
    return 2 if _is_vowel(before) and _is_vowel(after) else 1


def _is_letter(one: str) -> bool:
    """True for letters of scripts with two cases, and for Arabic: those are drawn out."""
    return bool(one) and (one.lower() != one.upper() or "\u0620" <= one <= "\u064a")


def _is_vowel(letter: str) -> bool:
    return bool(letter) and unicodedata.normalize("NFD", letter.lower())[0] in _VOWELS
