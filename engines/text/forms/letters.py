"""Letters in other dress (full width, circled, mathematical, raised), and those of other scripts that look alike.

The first is what compatibility normalisation (NFKC) does, only where it keeps the meaning: a raised 2 is a
power, ½ is not 1⁄2 of a date, and ㅋ is a laugh. Those stay as they are.

For the second, a word is folded only where it mixes scripts, or where a text of mixed words holds words made of
look-alikes alone. Real Cyrillic, Greek and Armenian text is left as it is.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sluicegate.engines.text.forms.stage import NOTHING, Result, one_of

_FIRED = frozenset({"lookalikes"})
_LATIN = "A-Za-z\u00c0-\u024f\u1e00-\u1eff"
_OTHERS = (
    "\u0250-\u02af\u1d00-\u1d7f\u0370-\u03ff\u1f00-\u1fff\u0400-\u052f\u1c80-\u1c8f\ua640-\ua69f\u0531-\u0587"
    "\u13a0-\u13ff\uab30-\uabbf\ua4d0-\ua4ff\u2c80-\u2cff\ua720-\ua7ff"
)
_WORD = re.compile(f"[{_LATIN}{_OTHERS}]+")
_IS_LATIN = re.compile(f"[{_LATIN}]")
_SHORT = 3
"""Below, a mixed word may be a formula: Δx, αs."""
_LONG = 4
"""From here on a word of look-alikes alone is none of its script, in a text that has no other of it."""


@dataclass(frozen=True, slots=True)
class _Table:
    close: dict[str, str]
    """Letter to the ASCII letter that it looks like."""
    rough: dict[str, str]
    """The same for letters in the shape of small capitals: т, к, н."""
    to_cyrillic: dict[str, str]
    to_greek: dict[str, str]
    any: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the words of a text tell."""

    mixed: bool
    """A word of letters and look-alikes stands there: somebody is disguising."""
    latin: bool
    genuine: bool
    """More words stand there that only another script can write than disguised ones."""


def telling() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Every letter that may be undressed, and every one that looks like another."""
    return _DRESSED, _table().any


def may_look_alike(text: str) -> bool:
    """True if :func:`without_lookalikes` may find something."""
    return not text.isascii() and _table().any.search(text) is not None


def without_lookalikes(text: str) -> Result:
    """Give look-alikes the letters that they stand for, and Latin look-alikes in other scripts theirs."""
    if text.isascii():
        return text, NOTHING
    table = _table()
    if table.any.search(text) is None:
        return text, NOTHING
    seen = _look(text, table)
    folded = _WORD.sub(lambda match: _word(match[0], table, seen), text)
    return folded, _FIRED if folded != text else NOTHING


def _look(text: str, table: _Table) -> _Seen:
    mixed = genuine = 0
    latin = False
    for match in _WORD.finditer(text):
        word = match[0]
        own = sum(1 for one in word if _IS_LATIN.match(one))
        alike = sum(1 for one in word if one in table.close or one in table.rough)
        latin |= own == len(word)
        genuine += not own and alike < len(word)
        mixed += len(word) >= _SHORT and bool(own and alike) and own + alike == len(word)
    return _Seen(mixed > 0, latin, genuine > mixed)


def _word(word: str, table: _Table, seen: _Seen) -> str:
    own = [one for one in word if _IS_LATIN.match(one)]
    close = sum(1 for one in word if one in table.close)
    rough = sum(1 for one in word if one in table.rough)
    if not close + rough or len(own) + close + rough < len(word):
        return _native(word, own, table)
    if own:
        # Beside real words of the other script a rough likeness may be its ending: COVIDом.
        disguised = not (rough and seen.genuine) and (len(word) >= _SHORT or seen.mixed)
    else:
        long = seen.latin and not rough and len(word) >= _LONG
        disguised = not seen.genuine and (seen.mixed or long)
    return "".join(table.close.get(one) or table.rough.get(one) or one for one in word) if disguised else word


def _native(word: str, own: list[str], table: _Table) -> str:
    """A word of another script with Latin letters strewn in, written in its own."""
    if not own or len(word) < _SHORT or 2 * len(own) > len(word):
        return word
    for first, last, to in (("\u0400", "\u052f", table.to_cyrillic), ("\u0370", "\u03ff", table.to_greek)):
        if all(first <= one <= last or one in to for one in word):
            return "".join(to.get(one, one) for one in word)
    return word


@cache
def _table() -> _Table:
    lines = (
        (resources.files(__package__) / "data" / "lookalikes.txt").read_text(encoding="utf-8").splitlines()
    )
    rows = [line.split(" ") for line in lines if line and not line.startswith("#")]
    close = {one: to for one, to, kind in rows if kind == "close"}
    rough = {one: to for one, to, kind in rows if kind == "rough"}
    cyrillic = {
        to: one for one, to in reversed([*close.items(), *rough.items()]) if "\u0410" <= one <= "\u044f"
    }
    greek = {to: one for one, to in reversed([*close.items(), *rough.items()]) if "\u0391" <= one <= "\u03c9"}
    return _Table(close, rough, cyrillic, greek, re.compile(f"[{''.join([*close, *rough])}]"))


_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+")
_TO_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_HALF_KANA = re.compile("[\uff66-\uff9f]+")
_EAST_ASIAN = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uff66-\uff9f]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_LIGATURES = re.compile("[\ufb00-\ufb06\ufb50-\ufdf1\ufe70-\ufefc]+")
_ORDINALS = "ªº"
_SELECTORS = (0xFE0E, 0xFE0F)
_SELECTOR = "[\ufe0e\ufe0f]?"
_FEW = 3
"""A lone styled letter is a formula, a brand or a bullet; this many in a row are a word."""
# Styled letters that no decomposition tells of, by the beginning of their names.
_NAMED = ("NEGATIVE CIRCLED LATIN CAPITAL LETTER ", "NEGATIVE SQUARED LATIN CAPITAL LETTER ")
_STYLED_RANGES = (
    (0x1D2C, 0x1DC0),
    (0x2070, 0x2190),
    (0x2460, 0x2500),
    (0xA69C, 0xA7FA),
    (0x1D400, 0x1D800),
    (0x1F130, 0x1F18A),
)

_DRESSED = re.compile(
    f"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\ufb00-\ufdf1\ufe70-\ufefc{''.join(f'{chr(first)}-{chr(end - 1)}' for first, end in _STYLED_RANGES)}]"
)
"""Every letter that may be changed stands in one of these ranges: most texts have none."""


def may_be_dressed(text: str) -> bool:
    """True if :func:`plain_letters` may change something."""
    return not text.isascii() and (
        _DRESSED.search(text) is not None or not unicodedata.is_normalized("NFC", text)
    )


def plain_letters(text: str) -> Result:
    """Give letters and digits their plain form, composed (NFC).

    ``letter_forms`` fires for styled words, and for full width where it is no habit of the script:
    inside a word of plain letters, or in a text without East Asian characters. ``width`` fires
    for other full-width letters, half-width kana, and ligatures of older encodings.
    """
    if text.isascii():
        return text, NOTHING
    if _DRESSED.search(text) is None:
        return unicodedata.normalize("NFC", text), NOTHING
    fired: set[str] = set()
    styled, plain = _styled()

    def undress(match: re.Match[str]) -> str:
        undressed = match[0].translate(plain)
        if len(undressed) < _FEW and not _beside_letters(match):
            return match[0]
        fired.add("letter_forms")
        return undressed

    text = styled.sub(undress, text)
    # One character of Chinese does not make a text Chinese.
    east_asian = len(_EAST_ASIAN.findall(text)) >= sum(map(len, _WIDE.findall(text)))

    def narrow(match: re.Match[str]) -> str:
        narrowed = match[0].translate(_TO_NARROW)
        word = len(narrowed) >= _FEW and not east_asian and not narrowed.isdigit()
        fired.add("letter_forms" if word or (not narrowed.isdigit() and _beside_letters(match)) else "width")
        return narrowed

    text = _WIDE.sub(narrow, text)
    for pattern in (_HALF_KANA, _LIGATURES):
        text, changed = pattern.subn(_compatible, text)
        if changed:
            fired.add("width")
    return unicodedata.normalize("NFC", text), frozenset(fired)


def _beside_letters(match: re.Match[str]) -> bool:
    """True if a plain Latin letter stands right before or after."""
    text = match.string
    return bool(
        _ASCII_LETTER.match(text[match.start() - 1 : match.start()])
        or _ASCII_LETTER.match(text[match.end() : match.end() + 1])
    )


def _compatible(match: re.Match[str]) -> str:
    # One at a time: the longest, U+FDFA, would be eighteen characters.
    forms = (unicodedata.normalize("NFKC", one) for one in match[0])
    return "".join(form if len(form) <= _FEW else one for one, form in zip(match[0], forms, strict=True))


@cache
def _styled() -> tuple[re.Pattern[str], dict[int, str]]:
    """Every styled letter and digit, some of which are emoji and have their selector, and its plain form."""
    plain: dict[int, str] = {}
    for first, end in _STYLED_RANGES:
        for code in range(first, end):
            if form := _plain_form(chr(code)):
                plain[code] = form
    return re.compile(f"(?:{one_of(plain)}{_SELECTOR})+"), plain | dict.fromkeys(_SELECTORS, "")


def _plain_form(one: str) -> str:
    name = unicodedata.name(one, "")
    for beginning in _NAMED:
        if name.startswith(beginning):
            return name.removeprefix(beginning)
    tag = unicodedata.decomposition(one).partition(" ")[0]
    form = unicodedata.normalize("NFKC", one)
    if len(form) != 1 or one in _ORDINALS or form == one:
        return ""
    if tag == "<font>" and form.isalnum():
        return form
    return form if tag in {"<circle>", "<square>", "<super>", "<sub>"} and form.isalpha() else ""
