"""Letters in other dress: full width, circled, squared, mathematical, raised.

What compatibility normalisation (NFKC) does, only where it keeps the meaning: a raised 2 is a power,
½ is not 1⁄2 of a date, and ㅋ is a laugh. Those stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from sluicegate.engines.text.forms.character_class import one_of
from sluicegate.engines.text.forms.result import NOTHING, Result

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
"""A lone styled letter is a formula, a brand or a bullet; so many in a row are a word."""
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
