"""The reduced form of a text: what is left without the differences that turn no meaning. Pure.

Two texts are near duplicates where their reduced forms are equal. So the rule is one list of what is
taken away, and everything else must agree to the character: every word, blank, name, number, link, sign
and capital. What may have been hidden from the eye has no reduced form at all.
"""

from __future__ import annotations

import re

from sluicegate.engines.text.forms.invisible import hides_something, without_invisible

_MOST_CHARACTERS = 4_096
"""Copies that flood a stream are short; to reduce a long text costs time that its judgement does not repay."""
_LONGER = 2
"""A text has at most so many times the characters of its reduced form: the rest is padding that an engine reads."""
_LEAST_LETTERS, _LETTER_SHARE = 6, 0.5
"""So many different letters, and most of the text made of letters: pictures made of characters have neither."""
_RUN = 5
"""Nothing is spelt with a letter five times in a row, so five and more are the same. Three are not four: in
Portuguese "kkkk" laughs, and KKK is a name."""

_UNSEEN = frozenset({"format", "invisible"})
# In Arabic and the scripts of India a joiner changes the letter before it, at the end of a word as well.
_JOINED = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff]"
    "[\u200b-\u200d\u2060\ufe0e\ufe0f\ufeff]*[\u200c\u200d]"
)
_LINE_ENDS = frozenset("\n\r")
# One or two over and over of what people draw out. All else may count: tallies, strokes, pictures, and numbers
# in digits, in Chinese and in Roman.
_RUNS = re.compile(
    r"([!?.…~abefghjknopqrstuwyzABEFGHJKNOPQRSTUWYZäöüáéóúаеоуэыюяАЕОУЭЫЮЯ哈呵嘿啊ㅋㅎㅠㅜ]{1,2}?)\1{4}\1+"
)
_VISIBLE_ASCII = re.compile("[!-~\\d]+")
_ANCHOR = re.compile(r"[\d@#/\\_]|[^\W_][.:=&][^\W_]")
_INNER_DOT = re.compile(r"\w[.:@/]\w")


def reduced_form(text: str) -> str | None:
    """What is compared of a text; None where no other text may stand in for it.

    Taken away are characters that nobody sees and that hide nothing, and, in a text of one line, letters and
    stops that come more than five times in a row.
    """
    if len(text) > _MOST_CHARACTERS or hides_something(text):
        return None
    seen, fired = without_invisible(text)
    if not fired <= _UNSEEN or _JOINED.findall(text) != _JOINED.findall(seen):
        return None
    # In several lines repeats may be a picture.
    reduced = _RUNS.sub(lambda match: match[1] * _RUN, seen) if _LINE_ENDS.isdisjoint(seen) else seen
    if len(text) > _LONGER * len(reduced) or not _is_prose(reduced):
        return None
    if not _anchors(text) == _anchors(seen) == _anchors(reduced):
        return None  # a number, a mention or a link was changed
    if reduced != seen and any(_RUNS.search(word) and _INNER_DOT.search(word) for word in seen.split()):
        return None  # the same for a host name in other scripts
    return reduced


def _is_prose(text: str) -> bool:
    letters = list(filter(str.isalpha, text))
    solid = len(text) - sum(map(str.isspace, text))
    return len(set(letters)) >= _LEAST_LETTERS and len(letters) >= _LETTER_SHARE * solid


def _anchors(text: str) -> list[str]:
    """Numbers, mentions, tags, links and paths, each as it was written and with the signs around it."""
    return [run for run in _VISIBLE_ASCII.findall(text) if _ANCHOR.search(run)]
