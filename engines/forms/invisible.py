"""Characters that nobody sees: zero-width, directions, selectors, controls, and stacked marks.

Where they carry meaning they stay: joiners in Persian and in the scripts of India, break marks in
Thai and its neighbours, what joins emoji, and the flags of regions.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

from sluicegate.engines.forms.character_class import one_of
from sluicegate.engines.forms.result import NOTHING, Result

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+"
)
_REVERSED = re.compile("\u202e([^\u202c\u202e\n]+)\u202c?")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_OVERLAYS = re.compile(
    "[\u0332-\u0338\u0305\u033f\u0488\u0489\u20d2-\u20d4\u20d8-\u20da\u20e5\u20e6\u20ea\u20eb]+"
)
# Vietnamese stacks two marks on a vowel; three are no letter of any language that is written with these.
_STACKED = re.compile("[\u0300-\u036f\u1dc0-\u1dff\u20d0-\u20dc]{3,}")
_MOST_MARKS = 7
"""Marks of any script on one letter: more is no text, and sorting a long run of them takes quadratic time."""

# Zero-width space and joiners, word joiner and byte order mark hide nothing. All else that is not seen may hide
# something: blanks that look like a space and fold to nothing (U+3164), hyphens, directions, tags, selectors that
# carry bytes, controls.
_HIDING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200e\u200f"
    "\u2028-\u202e\u2061-\u206f\u2800\u3164\ufe00-\ufe0d\uffa0\ufff9-\ufffc\ue000-\uf8ff\U000e0000-\U0010ffff]"
)

_JOINERS, _BREAK, _SELECTORS = "\u200c\u200d", "\u200b", "\ufe0e\ufe0f"
_JOINED = re.compile("[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua8ff\ufb50-\ufdff\ufe70-\ufefc]")
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u19e0-\u19ff]")
_MONGOLIAN = re.compile("[\u1800-\u18af]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_BLACK_FLAG, _TAGS = "\U0001f3f4", re.compile("[\U000e0020-\U000e007f]+$")


def hides_something(text: str) -> bool:
    """True if what nobody sees of a text may be read all the same: no form without it stands for such a text."""
    return _HIDING.search(text) is not None


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
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None
    text = _UNSEEN.sub(lambda match: _kept(match, fired, right_to_left=right_to_left), text)
    if not text.isascii():
        text = _without_marks(text, fired)
    return text, frozenset(fired)


def _forwards(text: str, fired: set[str]) -> str:
    if _RIGHT_TO_LEFT.search(text):
        fired.add("format")
        return text  # the script's own direction: nothing was turned round
    fired.add("bidi")
    return text[::-1]


def _kept(match: re.Match[str], fired: set[str], *, right_to_left: bool) -> str:
    text, run = match.string, match[0]
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    kept = _meant(run, before, after)
    if kept == run:
        return run
    within = before.isalnum() and after.isalnum() and not kept
    if within and right_to_left and _DIRECTIONS.issuperset(run):
        within = False
    if (
        within
        and _HAN.match(before)
        and all(unicodedata.name(one, "").startswith("VARIATION") for one in run[:9])
    ):
        within = False  # names in Japan are told apart by these
    fired.add("invisible" if within else "format")
    return kept


def _meant(run: str, before: str, after: str) -> str:
    """What of a run carries meaning between these two characters."""
    if not before:
        return ""
    one = run[0]
    joins = one in _JOINERS and _JOINED.match(before) and _JOINED.match(after or " ")
    breaks = one == _BREAK and _UNSPACED.match(before) and _UNSPACED.match(after or " ")
    if joins or breaks or (_MONGOLIAN.match(before) and "\u180b" <= one <= "\u180f"):
        return one
    if before == _BLACK_FLAG and (tags := _TAGS.match(run[:8])):
        return tags[0]
    if _is_pictured(before):
        selector = one if one in _SELECTORS else ""
        tied = (
            run[len(selector) :].startswith("\u200d")
            and not (before + after).isalnum()
            and _is_pictured(after)
        )
        return selector + "\u200d" * tied
    return ""


def _is_pictured(one: str) -> bool:
    """True for what emoji are made of: pictures, skin tones, and the bases of keycaps."""
    return bool(one) and (
        one in "#*0123456789" or unicodedata.category(one) in {"So", "Sk", "Sm", "Po", "Me"}
    )


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
