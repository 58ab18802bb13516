"""Digits and signs in the place of letters: k1ll, sh!t, b0mb.

Numbers stand at the ends of words (mp3, 4k, covid19, 2nd) and beside each other; leet stands between
letters. A word needs such a place before any of it is read, or a text that is full of them.
"""

from __future__ import annotations

import re
import unicodedata

from sluicegate.engines.text.forms.stage import NOTHING, Result

_FIRED = frozenset({"leet"})
_LETTER_OF = {
    "0": "o",
    "1": "i",
    "3": "e",
    "4": "a",
    "5": "s",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "!": "i",
}
_TABLE = str.maketrans(_LETTER_OF)
_ALONE = frozenset("013457@$")
"""Read by themselves; 8 and 9 only beside one of these: gr8 and m9 are words of their own."""

_BLANK = "\u2800"
"""Empty Braille: it looks like a space, and is none to Python."""
_CHUNK = re.compile(rf"[^\s{_BLANK}]+")
_LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_WORD = re.compile(f"[0-9{_LETTERS}@$!]+")
_SIGN = re.compile("[0-9@$!]")
_ADDRESS = re.compile(r"^(?:@\w|https?:|www\.|//)|://|\w\.\w+/|@[^@]*\.", re.IGNORECASE)

_CONSONANT = "[bcdfghjklmnpqrstvwxz]"
_CLUSTER = re.compile(f"{_CONSONANT}{{5}}")
_EXCLAIMED = re.compile(f"^{_CONSONANT}{{1,2}}!{_CONSONANT}[a-z]{{0,6}}$")
_DOLLARS = re.compile(r"^[a-z]{1,6}\$\$[a-z]*$")
_NO_LEET = tuple(
    re.compile(shape)
    for shape in (
        "^[a-z]{2,}[0-9]{2,}$",  # covid19
        "^[a-z]+[0-9]+s$",  # ps4s
        "^[0-9a-f]{6,}$",  # hexadecimal
        "^[a-z](?:1[a-z])+$",  # e1b1b, x1y
        "^(?:[bpmfdtnlgkhjqxzcsryw]{0,2}[aeiou\u00fcv]{1,3}(?:ng|n|r)?[1-5]){2,}$",  # Pinyin with tones: lao3tan3
        "^[^0-9@]+@s?$",  # Spanish for both genders: tod@s
        "^[0-9]+(?:st|nd|rd|th|er|e|am|pm|k|m|km|cm|mm|kg|mg|g|h|s|x|d|p|ml|l|w|v|min|bn|gb|mb|tb)$",
    )
)
_LONGEST = 24
"""Longer words of letters and digits are keys and hashes."""
_MANY, _MANY_WEAK = 2, 3
"""This many disguised words, or this many weak signs beside one, make a text in which weak signs are read, too."""
_NEAR, _NEAR_AT = 3, 2
"""Letters on the shorter side of a sign: between two whole words a digit is a number, and @ an address."""


_TELLING = re.compile(f"[013457@$!](?<=[{_LETTERS}].)[{_LETTERS}$]")
"""A sign between two letters, or two dollars after one: no word is leet by itself without."""


def may_be_leet(text: str) -> bool:
    """True if :func:`without_leet` may find something."""
    return _TELLING.search(text) is not None


def without_leet(text: str) -> Result:
    """Read digits and signs as letters inside words."""
    if _SIGN.search(text) is None:
        return text, NOTHING
    chunks = [chunk for chunk in _chunks(text) if not chunk.isdigit() and not _ADDRESS.search(chunk)]
    words = {word[0] for chunk in chunks for word in _WORD.finditer(chunk)}
    strong = {word for word in words if _is_strong(word)}
    if not strong:
        return text, NOTHING
    weak = {word for word in words if _is_weak(word)}
    read = strong | weak if len(strong) >= _MANY or len(weak - strong) >= _MANY_WEAK - 1 else strong
    told = frozenset(chunks)

    def change(match: re.Match[str]) -> str:
        if match[0] not in told:
            return match[0]
        return _WORD.sub(lambda word: _read(word[0]) if word[0] in read else word[0], match[0])

    folded = _CHUNK.sub(change, text)
    return folded, _FIRED if folded != text else NOTHING


def _chunks(text: str) -> list[str]:
    """What stands between spaces and holds a sign."""
    return [chunk for chunk in text.replace(_BLANK, " ").split() if _SIGN.search(chunk)]


def _is_strong(word: str) -> bool:
    """True for leet by itself."""
    core = word.strip("!")
    low = core.lower()
    parts, signs = _SIGN.split(low), _SIGN.findall(low)
    if not signs or len(core) > _LONGEST or not _LETTER_OF.keys() >= set(signs):
        return False
    if "!" in signs:
        return _EXCLAIMED.match(low) is not None
    if _DOLLARS.match(low):
        return True
    letters = len(low) - len(signs)
    if letters <= len(signs) or (letters < 3 and core == core.upper()) or _is_number(low):
        return False  # among them codes: H1N1, M4A
    inner = any(
        sign in _ALONE
        and before
        and after
        and min(len(before), len(after)) <= (_NEAR_AT if sign == "@" else _NEAR)
        for before, sign, after in zip(parts, signs, parts[1:], strict=False)
    )
    return inner and _is_speakable(low)


def _is_weak(word: str) -> bool:
    """True for what may be leet, in a text full of it: a word with a letter that is no quantity and no code."""
    core = word.strip("!")
    low = core.lower()
    signs = set(_SIGN.findall(low))
    if (
        not signs & _ALONE
        or not _LETTER_OF.keys() - {"!"} >= signs
        or low.startswith("$")
        or len(core) > _LONGEST
    ):
        return False
    code = core == core.upper() and len(core) > 3
    return not code and any(map(str.isalpha, low)) and not _is_number(low) and _is_speakable(low)


def _is_number(low: str) -> bool:
    """True for shapes of numbers, codes and other habits. One digit at the end is a sign like any other."""
    return any(shape.match(low) for shape in _NO_LEET)


def _is_speakable(low: str) -> bool:
    """True if the word that it would be could be one. Of three letters, the outer two are consonants then."""
    word = "".join(unicodedata.normalize("NFD", one)[0] for one in low.translate(_TABLE))
    if len(word) == 3 and low[1] != "0" and _SIGN.match(low[1]) and (word[0] in "aeiou" or word[2] in "aiu"):
        return False
    return any(one in "aeiouy" for one in word) and _CLUSTER.search(word) is None


def _read(word: str) -> str:
    core = word.strip("!")
    start = word.index(core)
    letters = core.translate(_TABLE)
    letters = letters.upper() if core == core.upper() else letters
    return word[:start] + letters + word[start + len(core) :]
