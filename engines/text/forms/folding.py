"""Fold a text: undo what people do to letters so that a filter reads past a word."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from sluicegate.engines.text.forms import chinese, invisible, letters
from sluicegate.engines.text.forms.chinese import may_be_rewritten, plain_chinese
from sluicegate.engines.text.forms.invisible import may_hide, without_invisible
from sluicegate.engines.text.forms.leet import may_be_leet, without_leet
from sluicegate.engines.text.forms.letters import (
    may_be_dressed,
    may_look_alike,
    plain_letters,
    without_lookalikes,
)
from sluicegate.engines.text.forms.stage import FoldStage
from sluicegate.engines.text.forms.stretched import (
    joined,
    may_be_drawn_out,
    may_be_set_apart,
    without_repeats,
)

RULES = (
    "format",
    "invisible",
    "bidi",
    "marks",
    "width",
    "letter_forms",
    "lookalikes",
    "split_characters",
    "variants",
    "traditional",
    "spaced",
    "leet",
    "repeats",
)
"""Names of all rules, in the order in which they are told."""

PLAIN = frozenset({"format", "width"})
"""Rules that change no word: alone they are no reason for a second judgement."""

UNSEEN = frozenset({"format", "invisible"})
"""Rules that take away what nobody sees, and nothing else."""

GROWTH = 3
"""A folded text has at most this many times the characters of the original."""

# In this order: what hides a letter goes before what is read from letters.
STAGES = (
    FoldStage(without_invisible, may_hide),
    FoldStage(plain_letters, may_be_dressed),
    FoldStage(without_lookalikes, may_look_alike),
    FoldStage(plain_chinese, may_be_rewritten),
    FoldStage(joined, may_be_set_apart),
    FoldStage(without_leet, may_be_leet),
    FoldStage(without_repeats, may_be_drawn_out),
)
_OF_PLAIN = STAGES[4:]
"""Those that say something of a text of ordinary characters."""
# Disguises lie in layers ("ｋ.1.ｌ.ｌ"): a second round finds nearly all, and a bound keeps hostile text cheap.
_ROUNDS = 4


@dataclass(slots=True)  # frozen, each would take twice as long to make
class Folded:
    """A text's folded form. Nobody changes it."""

    text: str
    """At most :data:`GROWTH` times as long as the original."""
    rules: tuple[str, ...]
    """Names of the rules that fired, of :data:`RULES` and in that order."""

    @property
    def differs(self) -> bool:
        """True if the form differs in substance, and so deserves a judgement of its own.

        A change of width, or an invisible character at the edge of a word, does not.
        """
        return bool(self.rules) and not PLAIN.issuperset(self.rules)

    @property
    def looks_the_same(self) -> bool:
        """True if it lacks nothing that a reader sees."""
        return UNSEEN.issuperset(self.rules)


def _may_be_disguised(text: str) -> bool:
    """False if none of the other stages may find something: one look in place of four, which most texts pass."""
    if text.isascii():
        return may_hide(text)
    return _disguises().search(text) is not None or not unicodedata.is_normalized("NFC", text)


@cache
def _disguises() -> re.Pattern[str]:
    """Every character that one of these stages looks for. Each of their patterns is one class."""
    patterns = (invisible.telling(), *letters.telling(), chinese.telling())
    return re.compile(f"[{''.join(one.pattern[1:-1] for one in patterns)}]")


def fold(text: str) -> Folded:
    """The folded form of a text. Pure; time and size are linear in the text, whatever it holds.

    Folding is for comparing and for a second look, never for display: it guesses, and the original
    is judged beside it.
    """
    fired: set[str] = set()
    for _ in range(_ROUNDS):
        before = text
        for change, concerns in STAGES if _may_be_disguised(text) else _OF_PLAIN:
            if concerns(text):
                text, rules = change(text)
                fired.update(rules)
        if text == before:
            break
    return Folded(text, tuple(rule for rule in RULES if rule in fired) if fired else ())
