"""Rules that say which earlier text may stand in for a text: the shipped one, and more generous ones to compare."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from rensa import RMinHash, RMinHashLSH

from sluicegate.engines.adapt.data.rows import bare_form, shingles
from sluicegate.engines.text.forms import PLAIN, fold
from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form

if TYPE_CHECKING:
    from collections.abc import Callable

_HASHES, _BANDS, _SEED = 128, 32, 1
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_RISKY = re.compile(r"\d|[@#/\\]|^https?$|^www$")
NEGATIONS = frozenset(
    [
        "no",
        "not",
        "never",
        "none",
        "nobody",
        "nothing",
        "nowhere",
        "neither",
        "nor",
        "without",
        "hardly",
        "cannot",
        "t",
        "isn",
        "don",
        "won",
        "shouldn",
        "kein",
        "keine",
        "keiner",
        "keinen",
        "nicht",
        "nie",
        "niemals",
        "niemand",
        "nichts",
        "weder",
        "ohne",
        "sin",
        "nunca",
        "jamás",
        "ni",
        "nadie",
        "nada",
        "ningún",
        "ninguna",
        "tampoco",
        "ne",
        "pas",
        "jamais",
        "rien",
        "personne",
        "aucun",
        "aucune",
        "sans",
        "n",
        "não",
        "nem",
        "nenhum",
        "nenhuma",
        "sem",
        "不",
        "没",
        "沒",
        "無",
        "无",
        "未",
        "别",
        "別",
        "勿",
        "莫",
        "非",
        "否",
        "禁",
    ]
)


class Rule(Protocol):
    """One rule."""

    name: str

    def find(self, text: str, group: str) -> str | None:
        """The id of the earlier text of the same group that may stand in for this one."""
        ...

    def add(self, one: str, text: str, group: str) -> None:
        """Remember a text that was judged."""
        ...


class SameForm:
    """Texts are the same where some form of them is: no search, no similarity."""

    def __init__(self, name: str, form: Callable[[str], str | None]) -> None:
        self.name = name
        self._form = form
        self._ids: dict[tuple[str, str], str] = {}

    def find(self, text: str, group: str) -> str | None:
        form = self._form(text)
        return None if form is None else self._ids.get((group, form))

    def add(self, one: str, text: str, group: str) -> None:
        if (form := self._form(text)) is not None:
            self._ids.setdefault((group, form), one)


class Shipped(SameForm):
    """The reduced form, where only a text that an engine reads in that form, or folded, stands for others."""

    def __init__(self) -> None:
        super().__init__("reduced form (shipped)", reduced_form)

    def add(self, one: str, text: str, group: str) -> None:
        if reduced_form(text) == text or not PLAIN.issuperset(fold(text).rules):
            super().add(one, text, group)


@dataclass(frozen=True)
class _Judged:
    id: str
    text: str
    hashes: RMinHash


class Similar:
    """The most similar of the candidates that MinHash and banding find, over the folded text.

    Args:
        similarity: Least share of common runs of characters.
        guarded: Refuse where the words that differ hold digits, links, mentions, negations or capitals.
    """

    def __init__(self, similarity: float, *, guarded: bool) -> None:
        self.name = f"MinHash {similarity:g}{', guarded' if guarded else ''}"
        self._similarity, self._guarded = similarity, guarded
        self._bands: dict[str, RMinHashLSH] = {}
        self._judged: list[_Judged] = []

    def find(self, text: str, group: str) -> str | None:
        bands = self._bands.get(group)
        if bands is None:
            return None
        hashes = _hashes(text)
        found = [(hashes.jaccard(self._judged[number].hashes), number) for number in bands.query(hashes)]
        for similarity, number in sorted(found, key=lambda one: (-one[0], one[1])):
            if similarity < self._similarity:
                break
            judged: _Judged = self._judged[number]
            if not self._guarded or is_harmless_difference(judged.text, text):
                return judged.id
        return None

    def add(self, one: str, text: str, group: str) -> None:
        hashes = _hashes(text)
        bands = self._bands.setdefault(group, RMinHashLSH(self._similarity, _HASHES, _BANDS))
        bands.insert(len(self._judged), hashes)
        self._judged.append(_Judged(one, text, hashes))


def _hashes(text: str) -> RMinHash:
    hashes = RMinHash(num_perm=_HASHES, seed=_SEED)
    hashes.update(sorted(shingles(bare_form(fold(text).text))))
    return hashes


def is_harmless_difference(one: str, other: str) -> bool:
    """The guard that is easily thought of: what differs are words without digits, links, names or negations."""
    words, others = (Counter(_WORD.findall(fold(text).text)) for text in (one, other))
    differing = [*(words - others), *(others - words)]
    return not any(
        _RISKY.search(word) or word.casefold() in NEGATIONS or word[0].isupper() for word in differing
    )


def _folded(text: str) -> str:
    return fold(text).text


def _any_case(text: str) -> str | None:
    reduced = reduced_form(text)
    return None if reduced is None else reduced.casefold()


RULES: tuple[Callable[[], Rule], ...] = (
    Shipped,
    partial(SameForm, "reduced form, any case", _any_case),
    partial(SameForm, "folded form", _folded),
    partial(SameForm, "letters and digits alone", bare_form),
    partial(Similar, 0.9, guarded=True),
    partial(Similar, 0.8, guarded=True),
    partial(Similar, 0.7, guarded=True),
    partial(Similar, 0.7, guarded=False),
)
"""Each makes a new rule: the shipped one first, then from strict to generous."""
