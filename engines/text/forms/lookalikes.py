"""Letters of other scripts in the place of those that they look like.

A word is folded only where it mixes scripts, or where a text of mixed words holds words made of
look-alikes alone. Real Cyrillic, Greek and Armenian text is left as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sluicegate.engines.text.forms.result import NOTHING, Result

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
