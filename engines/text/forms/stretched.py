"""Words stretched: letters set apart ("k i l l", "b-o-m-b", "赌*博*网") and letters drawn out (killlll, كـــتـب).

Lists, initials, formulas and languages of one-letter words look like letters set apart. So a chain must be
three letters long, hold vowels and consonants, and be no row of the alphabet.

How many letters a word had before cannot be known without its dictionary. Doubles stay where languages write
them: ll, ss, ff, zz at the end, a consonant between vowels, ee and oo between consonants.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from sluicegate.engines.text.forms.stage import NOTHING, Result

_APART = frozenset({"spaced"})
_BLANK = r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]"
"""What looks like a space, and the tab. Empty Braille (U+2800) is no blank to Python."""
_MARK = r"[.\-_*·~|^#．]"
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff"
_IDEOGRAPHS = rf"[{_HAN}\uac00-\ud7af]"
# Letters are looked for where one separator stands for all that look like it, so that changing from one to another
# hides no word. Each character stands for one: places are those of the text.
_ALIKE = {
    **dict.fromkeys("\t\u00a0\u1680\u202f\u205f\u2800\u3000", " "),
    **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
    **dict.fromkeys("‐‑‒–—―⁃−﹘﹣－", "-"),
    **dict.fromkeys("•‧∙⋅⸱◦", "·"),
    **dict.fromkeys("․・･", "."),
    **dict.fromkeys("＊∗⁎", "*"),
    **dict.fromkeys("～∼〜", "~"),
    **dict.fromkeys("｜¦│∣", "|"),
    **dict(zip("＿＾＃", "_^#", strict=True)),
}
_TO_USUAL = re.compile(f"[{''.join(map(re.escape, _ALIKE))}]")
# The same separator again and again. Each chain is read once: giving up one letter always ends it well.
_LETTERS = re.compile(
    rf"(?<![^\W_])(?P<first>[^\W\d_{_HAN}\u3040-\u30ff\uac00-\ud7af])(?P<gap> {{1,3}}|{_MARK}{{1,3}}| {_MARK} )"
    rf"(?:[^\W_{_HAN}\u3040-\u30ff\uac00-\ud7af@$!](?P=gap)|[@$!](?P=gap))+"
    rf"(?:[^\W_{_HAN}\u3040-\u30ff\uac00-\ud7af]|[@$])(?![^\W_])"
)
_UNIT = rf"[{_HAN}\uac00-\ud7af，。！？、：；“”《》（）]"
# Not ‧ and ・: in Taiwan and in Japan they stand between the items of a list.
_MARK_OF_IDEOGRAPHS = r"[.\-_*·•~|^#．＊＿＾＃～｜¦│∣∗⁎∙⋅⸱◦‐‑‒–—―−﹘﹣－]"
_CHAIN = re.compile(rf"{_IDEOGRAPHS}(?P<gap>{_MARK_OF_IDEOGRAPHS})(?:{_UNIT}(?P=gap))+{_UNIT}")
_SPREAD = re.compile(rf"(?<![^\W_])[{_HAN}](?:{_BLANK}[{_HAN}]){{3,}}(?![^\W_])")
_ROWS = tuple(
    map(
        frozenset,
        (
            "〇零一二三四五六七八九十百千万",
            "日月火水木金土",
            "春夏秋冬",
            "东西南北中東",
            "甲乙丙丁戊己庚辛壬癸",
        ),
    )
)
"""Numbers, days, seasons, directions and stems, as they head lists and tables."""

_NOTES = frozenset("ABCDEFG")
"""Notes, grades and the answers of a test are spelled apart, too."""
_CHAT = frozenset("aiurcbnykodxqe")
"""One-letter words of chats, "i c u", "r u ok", and of several languages."""
_CYRILLIC_WORDS = frozenset("авикосуяобжэёеі")
_READ = str.maketrans("013457@$", "oieastas")
"""Leet inside a chain, read only to see whether it is a word."""
_ABBREVIATIONS = frozenset(
    {"aka", "asap", "dob", "eta", "phd", "mba", "rip", "rsvp", "tba", "usa", "usw", "etc", "iou", "idr"}
)


_ANY_GAP = f"[ {_BLANK[1:-1]}{_MARK[1:-1]}{_MARK_OF_IDEOGRAPHS[1:-1]}{''.join(map(re.escape, _ALIKE))}]"
_TELLING = re.compile(rf"{_ANY_GAP}(?:[\w@$!]{_ANY_GAP}{{1,3}}[\w@$!](?![^\W_])|{_UNIT}{_ANY_GAP})")
"""A character that stands alone, and after it another one; an ideograph or its comma that stands alone."""


def may_be_set_apart(text: str) -> bool:
    """True if :func:`joined` may find something."""
    return _TELLING.search(text) is not None


def joined(text: str) -> Result:
    """Join letters that the same separator sets apart, three or more; separators that look alike are the same."""
    folded = _joined_letters(text)
    if not text.isascii():
        folded = _CHAIN.sub(_ideographs, folded)
        folded = _SPREAD.sub(_ideographs, folded)
    return folded, _APART if folded != text else NOTHING


def _joined_letters(text: str) -> str:
    usual = text.replace("\t", " ") if text.isascii() else _TO_USUAL.sub(lambda match: _ALIKE[match[0]], text)
    if _LETTERS.search(usual) is None:
        return text  # most have none, and to look costs less than to go through all
    pieces: list[str] = []
    end = 0
    for match in _LETTERS.finditer(usual):
        gap = match["gap"]
        word = match[0][:: len(gap) + 1]
        if _is_word(word, gap):
            pieces += text[end : match.start()], word
            end = match.end()
    return "".join((*pieces, text[end:])) if pieces else text


def _is_word(word: str, gap: str) -> bool:
    signs = sum(1 for one in word if not one.isalpha())
    letters = word.lower().translate(_READ)
    if len(word) <= 3 * signs or len(set(letters)) <= 2 or _is_row(letters) or not letters.isalpha():
        return False
    capitals, blank = word.isupper(), not gap.strip()
    if word.lower() in _ABBREVIATIONS or (capitals and _NOTES.issuperset(word)):
        return False
    if capitals and ((blank and len(word) < 4) or (gap == "." and len(word) < 6)):
        return False  # J R R, U.N.E.P.
    if "a" <= _base(letters[0]) <= "z":
        vowels = sum(1 for one in letters if _base(one) in "aeiouy")
        return 0 < vowels < len(letters) and not (
            blank and len(word) == 3 and _CHAT.issuperset(map(_base, letters))
        )
    if "\u0400" <= letters[0] <= "\u04ff":
        return not (blank and (len(word) == 3 or _CYRILLIC_WORDS.issuperset(letters)))
    return not blank or len(word) > 3


def _is_row(letters: str) -> bool:
    """True for a piece of the alphabet, forwards or backwards: a b c, z y x."""
    steps = {ord(after) - ord(before) for before, after in pairwise(letters)}
    return steps in ({1}, {-1})


def _base(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0]


def _ideographs(match: re.Match[str]) -> str:
    chain = match[0]
    word = chain[::2]
    return chain if len(set(word)) < 2 or any(row.issuperset(word) for row in _ROWS) else word


_DRAWN_OUT = frozenset({"repeats"})
# Addresses, which end at empty Braille (U+2800) as at any blank, and Roman numerals are passed over; what is drawn
# out is one letter, three times or more.
_DRAWN = re.compile(
    r"(?P<skip>(?:https?://|www\.)[^\s\u2800]+|(?<![A-Za-z])[IVXLCDM]{3,}(?![A-Za-z]))|(?P<letter>[^\W\d_])(?P=letter){2,}"
)
_THREE = re.compile(r"([^\W\d_])\1\1")
"""Without such a place nothing is drawn out, and most texts have none; to look takes half the time."""
_THRICE = re.compile(r"(.)\1\1")
"""Anything three times: that is seen in a quarter of the time."""
_KASHIDA = re.compile("(?<=[\u0620-\u064a])\u0640+(?=[\u0620-\u064a])")
_VOWELS = frozenset("aeiouyаеёиоуыэюяіїєαεηιουω")
_DOUBLED_AT_END = frozenset("lsfz")
_DOUBLED_WITHIN = frozenset("eoо")
_TRIPLED = frozenset("flmnprst")
"""Where German joins two words a consonant may stand three times."""


def may_be_drawn_out(text: str) -> bool:
    """True if :func:`without_repeats` may find something."""
    thrice = _THRICE.search(text)
    return (thrice is not None and _THREE.search(text, thrice.start()) is not None) or "\u0640" in text


def without_repeats(text: str) -> Result:
    """Shorten what is drawn out. Words of one letter, such as www, hhh or xxx, stay."""
    folded = _DRAWN.sub(_shorter, text) if _THREE.search(text) is not None else text
    if not text.isascii():
        folded = _KASHIDA.sub("", folded)
    return folded, _DRAWN_OUT if folded != text else NOTHING


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
