"""Characters that nobody sees: zero-width, directions, selectors, controls, and stacked marks.

Where they carry meaning they stay: joiners in Persian and in the scripts of India, break marks in
Thai and its neighbours, what joins emoji, and the flags of regions.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from itertools import takewhile

from sluicegate.engines.text.forms.stage import NOTHING, Result, one_of

_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
# Unicode's Default_Ignorable_Code_Point (14.0, DerivedCoreProperties.txt) but for the harmless below, and
# controls of format (Cf) that it leaves out; the Arabic ones that stand visibly before a number are no such.
# Line and paragraph separators are here, too, as are the other ends of lines that few write (\x0b, \x85): where text
# is shown without them they part a word unseen. Real ends of lines are lost with them, in the folded form alone.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200e\u200f\u2028-\u202e\u2061-\u206f"
    "\u3164\ufe00-\ufe0d\uffa0\ufff0-\ufffb"
)
_CONTROLS_OF_SCRIPTS = (
    (0x2D7F, 0x2D7F, "[\u2d30-\u2d70]"),  # Tifinagh
    (0x13430, 0x13442, "[\U00013000-\U000143ff]"),  # hieroglyphs: joiners, and blanks that are letters
    (0x16FE4, 0x16FE4, "[\U00018b00-\U00018cff]"),  # Khitan
    (0x1BCA0, 0x1BCA3, "[\U0001bc00-\U0001bc9f]"),  # shorthand
    (0x1D159, 0x1D159, "[\U0001d100-\U0001d1ff]"),  # a note without a head
    (0x1D173, 0x1D17A, "[\U0001d100-\U0001d1ff]"),  # beams and slurs of music
)
"""Beside the characters that each was made for, these are part of the writing; elsewhere nothing is drawn."""
_SCRIPT_OF = {
    chr(code): re.compile(script)
    for first, last, script in _CONTROLS_OF_SCRIPTS
    for code in range(first, last + 1)
}
_OWN = "".join(f"{chr(first)}-{chr(last)}" for first, last, _ in _CONTROLS_OF_SCRIPTS)
_HARMLESS = "\u200b-\u200d\u2060\ufe0e\ufe0f\ufeff"
"""Zero-width space and joiners, word joiner and byte order mark, and the selectors of emoji hide nothing."""
_UNSEEN = re.compile(f"[{_CONTROLS}{_HIDDEN}{_HARMLESS}{_OWN}\U000e0000-\U000e0fff]+")
_REVERSED = re.compile("\u202e([^\u202c\u202e\n]+)\u202c?")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_OVERLAYS_CLASS = "\u0332-\u0338\u0305\u033f\u0488\u0489\u20d2-\u20d4\u20d8-\u20da\u20e5\u20e6\u20ea\u20eb"
_OVERLAYS = re.compile(f"[{_OVERLAYS_CLASS}]+")
# Vietnamese stacks two marks on a vowel; three are no letter of any language that is written with these.
_STACKED_CLASS = "\u0300-\u036f\u1dc0-\u1dff\u20d0-\u20dc"
_STACKED = re.compile(f"[{_STACKED_CLASS}]{{3,}}")
_BEYOND = 0x10000
"""First code point beyond the basic plane."""
_MOST_MARKS = 7
"""Marks of any script on one letter: more is no text, and sorting a long run of them takes quadratic time."""

# What else is not seen may hide something: blanks that look like a space and fold to nothing (U+3164), hyphens,
# directions, tags, selectors that carry bytes, controls.
_HIDING = re.compile(f"[{_CONTROLS}{_HIDDEN}{_OWN}\u2800\ufffc\ue000-\uf8ff\U000e0000-\U0010ffff]")

_JOINERS, _BREAK, _SELECTORS = "\u200c\u200d", "\u200b", "\ufe0e\ufe0f"
_JOINED = re.compile("[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua8ff\ufb50-\ufdff\ufe70-\ufefc]")
# Of more scripts, and at the end of a word as well: where this is told apart, nothing is dropped unseen.
_JOINED_LETTER = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff]"
    "[\u200b-\u200d\u2060\ufe0e\ufe0f\ufeff]*[\u200c\u200d]"
)
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u19e0-\u19ff]")
_MONGOLIAN = re.compile("[\u1800-\u18af]")
_OF_IDEOGRAPHS = re.compile("[\ufe00-\ufe02\U000e0100-\U000e01ef]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_BLACK_FLAG, _TAGS = "\U0001f3f4", re.compile("[\U000e0020-\U000e007f]+$")
_KEYCAP = "\u20e3"
# Of the standard's emoji, in ranges where only pictures lie between them. Signs of ASCII are none: the selector
# after them is seen only in a keycap, and would part a word everywhere else.
_PICTURE = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u20e3\u2122\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23fa"
    "\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d"
    "\u3297\u3299\U0001f000-\U0001f0ff\U0001f18e-\U0001faff]"
)
_PICTURED_LETTER = re.compile("[\u2139\u24c2\U0001f170\U0001f171\U0001f17e\U0001f17f]")
"""Letters in dress that are emoji, too: what stands for them is read in ``letters``, with the selector."""


def hides_something(text: str) -> bool:
    """True if what nobody sees of a text may be read all the same: no form without it stands for such a text."""
    return _HIDING.search(text) is not None


def joined_alike(text: str, other: str) -> bool:
    """False if a joiner changes a letter in one of two texts alone, as in Arabic and the scripts of India."""
    return _JOINED_LETTER.findall(text) == _JOINED_LETTER.findall(other)


def may_hide(text: str) -> bool:
    """True if :func:`without_invisible` may find something."""
    return not (text.isascii() and text.isprintable()) and telling().search(text) is not None


def without_invisible(text: str) -> Result:
    """Drop what nobody sees.

    ``invisible`` fires where something stood between two letters or digits, ``format`` elsewhere,
    ``bidi`` where text ran backwards, ``marks`` where signs were piled on letters.
    """
    if text.isascii() and text.isprintable():
        return text, NOTHING
    fired: set[str] = set()
    if "\u202e" in text:
        text = _REVERSED.sub(lambda match: _forwards(match[1], fired), text)
    text = _UNSEEN.sub(lambda match: _kept(match, fired), text)
    if not text.isascii():
        text = _without_marks(text, fired)
    return text, frozenset(fired)


def _forwards(text: str, fired: set[str]) -> str:
    if _RIGHT_TO_LEFT.search(text):
        fired.add("format")
        return text  # the script's own direction: nothing was turned round
    fired.add("bidi")
    return text[::-1]


def _kept(match: re.Match[str], fired: set[str]) -> str:
    text, run = match.string, match[0]
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    kept = _meant(run, before, after)
    if kept == run:
        return run
    within = not kept and _is_within(before, after)
    if within and _DIRECTIONS.issuperset(run) and _is_right_to_left(before) != _is_right_to_left(after):
        within = False  # where the direction changes; between letters of one direction it says nothing
    if within and _HAN.match(before) and _OF_IDEOGRAPHS.fullmatch(run):
        within = False  # names in Japan are told apart by these
    fired.add("invisible" if within else "format")
    return kept


def _is_right_to_left(one: str) -> bool:
    return _RIGHT_TO_LEFT.match(one) is not None


def _is_within(before: str, after: str) -> bool:
    """True inside a word: between two letters or digits, the first with its marks or without, or before a mark."""
    if before.isalnum():
        return after.isalnum() or _is_mark(after)
    return after.isalnum() and _is_mark(before)


def _is_mark(one: str) -> bool:
    return bool(one) and one != _KEYCAP and unicodedata.category(one)[0] == "M"


def _meant(run: str, before: str, after: str) -> str:
    """What of a run carries meaning between these two characters."""
    one = run[0]
    script = _SCRIPT_OF.get(one)
    if script is not None and (script.match(before) or script.match(after)):
        return "".join(takewhile(lambda other: _SCRIPT_OF.get(other) == script, run))
    if not before:
        return ""
    joins = one in _JOINERS and _JOINED.match(before) and _JOINED.match(after or " ")
    breaks = one == _BREAK and _UNSPACED.match(before) and _UNSPACED.match(after or " ")
    if joins or breaks or (_MONGOLIAN.match(before) and "\u180b" <= one <= "\u180f"):
        return one
    if before == _BLACK_FLAG and (tags := _TAGS.match(run[:8])):
        return tags[0]
    pictured = _PICTURE.match(before) is not None
    keycap = before in "#*0123456789" and after == _KEYCAP
    selector = one if one in _SELECTORS and (pictured or keycap or _PICTURED_LETTER.match(before)) else ""
    tied = pictured and run[len(selector) :].startswith("\u200d") and _PICTURE.match(after)
    return selector + "\u200d" if tied else selector


def _without_marks(text: str, fired: set[str]) -> str:
    for pattern in (_OVERLAYS, _STACKED):
        text, dropped = pattern.subn("", text)
        if dropped:
            fired.add("marks")
    marks, long_runs = _marks()
    if not marks.isdisjoint(text):
        text, dropped = long_runs.subn(lambda match: match[0][:_MOST_MARKS], text)
        if dropped:
            fired.add("marks")
    return text


@cache
def _marks() -> tuple[frozenset[str], re.Pattern[str]]:
    """Every character that combines with the letter before, and runs of more than ``_MOST_MARKS`` of them."""
    marks = frozenset(one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(one))
    return marks, re.compile(f"{one_of(map(ord, marks))}{{{_MOST_MARKS + 1},}}")


@cache
def telling() -> re.Pattern[str]:
    """Every character that is dropped somewhere; beyond the basic plane all but ideographs and pictures."""
    marks = one_of(code for code in map(ord, _marks()[0]) if code < _BEYOND)[1:-1]
    basic = f"{_CONTROLS}{_HIDDEN}{_HARMLESS}{_OVERLAYS_CLASS}{_STACKED_CLASS}{marks}"
    return re.compile(f"[{basic}\u2d7f\U00010000-\U0001efff\U000e0000-\U0010ffff]")
