"""Passages: where a cheap model sees risk in a long text, to be judged apart.

A small guard overlooks one harmful sentence among many harmless ones: an author who pads it gets it through. So beside
the whole, it judges the passages that cheap weights point to, each as a text of its own. The weights say where
to look, and how sure the model has to be there. Pure; needs numpy.

A run in which a text repeats a word or a sign time after time is found here, too.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from sluicegate.engines.text.passage_weights import Linear, plain, read_folder
from sluicegate.engines.text.prompting import Passage

Range: TypeAlias = tuple[int, int]
"""Half-open range of characters."""

TIMES: Final = 8
"""What comes so often in a row is a run."""
LONGEST: Final = 40
"""Of what is repeated; in characters."""


def repeated(text: str) -> list[Range]:
    """Every run in which up to :data:`LONGEST` characters come :data:`TIMES` times or more, in order; they do not touch.

    Linear in the text: it is compared with itself, shifted by each length.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    edges = np.zeros(len(codes) + 1, dtype=np.int64)
    for period in range(1, min(LONGEST, len(codes) // TIMES) + 1):
        firsts, ends = _true_runs(codes[period:] == codes[:-period])
        long = ends - firsts >= (TIMES - 1) * period
        np.add.at(edges, firsts[long], 1)
        np.add.at(edges, ends[long] + period, -1)
    firsts, ends = _true_runs(np.cumsum(edges) > 0)
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


def _true_runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and end of every run of true flags."""
    turns = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return turns[::2], turns[1::2]


Array: TypeAlias = Any

_LONG_FROM: Final = 200
"""Wider texts have passages. Narrower ones are little more than one passage themselves."""
_WIDEST: Final = 240
"""Of a passage, unless one sentence is wider: then it is a part of that."""
_NARROWEST: Final = 12
_SENTENCES: Final = 4
"""At most this many in a row are one passage."""
_MOST: Final = 3
"""Passages of one text. They do not overlap."""
_LEAST_RISK: Final = 0.4
"""A passage is judged where the weights give it this risk. This and the four below were chosen on the first 300 texts of
``benchmarks/dilution`` and on harmless posts of a stream (docs/texts.md)."""
_SURE: Final = 0.95
_SLOPE: Final = 0.5
"""Below the first, P(unsafe) has to be at least this share of what is lacking."""
_WIDE_SURE: Final = 0.75
_WIDE_SLOPE: Final = 2.0
"""The same where half of a passage or more is wide characters, as in Chinese."""
_MOST_SHARE: Final = 0.8
"""Of a text's characters: a wider passage is the text once more."""
_EXACT: Final = 64
"""This many candidates are looked at as texts of their own; of more, those that a first pass over the text finds worst."""
_HEAD: Final = 80
"""Characters that are read of a run that repeats itself."""

_END = re.compile(r"(?<=[.!?…؟।])\s+|(?<=[。！？；])\s*|\n\s*|(?<=[:：«“„\"])\s*|(?=[»”“\"])|(?<=\s)(?=@\w)")
"""Between two pieces: after a sentence or a line, before and after what is quoted, before a name that is spoken to.
No branch begins with blanks: each would be tried again at every blank of a run, in a time that is its square."""
_WIDE = re.compile("[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_WORD = re.compile(r"\S+")
_DIGIT = re.compile("[1-9]")


class Passages:
    """Finds passages with weights of words and runs of characters. It keeps nothing of a text, and threads may share it."""

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    @classmethod
    def shipped(cls) -> Passages:
        """With the weights that the package brings; they are read once.

        Raises:
            BundleError: The folder is damaged.
            ImportError: safetensors is missing.
        """
        return _shipped()

    def riskiest(self, text: str) -> list[Passage]:
        """What is to be judged apart, the riskiest first.

        Nothing of a short text and where nothing looks risky; a passage that is nearly all of the text is left out.
        Where repeats make up half of a text, the riskiest passage of the rest is judged, however little that is.
        Takes some milliseconds for an ordinary long post, and a second or so for 256 KiB.
        """
        if width(text) <= _LONG_FROM:
            return []
        runs = repeated(text)
        pieces = _pieces(text, runs)
        if flooded := sum(end - first for first, end in runs) * 2 >= len(text):
            pieces = [(span, alone) for span, alone in pieces if not alone] or pieces
        spans = self._likeliest(text, _spans(pieces, text))
        if not spans:
            return []
        found = self._linear.judged([plain(text[first:end]) for first, end in spans]).probabilities
        apart: list[tuple[Range, float]] = []
        for number in np.argsort(found[:, 0], kind="stable"):
            first, end = spans[number]
            if all(end <= other or first >= other_end for (other, other_end), _ in apart):
                apart.append(((first, end), 1 - float(found[number, 0])))
            if len(apart) == _MOST:
                break
        return [
            Passage(first, end, 0.0 if flooded and number == 0 else _least_unsafe(text[first:end], risk))
            for number, ((first, end), risk) in enumerate(apart)
            if (risk >= _LEAST_RISK or (flooded and number == 0)) and end - first <= _MOST_SHARE * len(text)
        ]

    def _likeliest(self, text: str, spans: list[Range]) -> list[Range]:
        if len(spans) <= _EXACT:
            return spans
        told, places = _plain_with_places(text)
        firsts, ends = (np.searchsorted(places, edges) for edges in zip(*spans, strict=True))
        # With the space on either side, which a text of its own has, too.
        safe = self._linear.judged_within(told, firsts - 1, ends + 1)[:, 0]
        return [spans[number] for number in np.argsort(safe, kind="stable")[:_EXACT]]


@cache
def _shipped() -> Passages:
    folder = Path(str(files("sluicegate.engines"))) / "assets" / "passages"
    return Passages(read_folder(folder)[1])


def width(text: str) -> float:
    """About how many Latin letters a text is as long as: a Chinese character says as much as two or three."""
    return len(text) if text.isascii() else len(text) + 1.5 * len(_WIDE.findall(text))


def _least_unsafe(text: str, risk: float) -> float:
    """What the model has to find at least: the less, the surer the weights are."""
    wide = 2 * len(_WIDE.findall(text)) >= len(text)
    sure, slope = (_WIDE_SURE, _WIDE_SLOPE) if wide else (_SURE, _SLOPE)
    return max(0.0, slope * (sure - risk))


def _spans(pieces: list[tuple[Range, bool]], text: str) -> list[Range]:
    """Some pieces in a row, or one; a piece that stands alone is joined to no other."""
    found: list[Range] = []
    for number, ((first, own_end), alone) in enumerate(pieces):
        for (_, end), other_alone in pieces[number : number + _SENTENCES]:
            joined = end != own_end
            wide = width(text[first:end])
            if joined and (alone or other_alone or wide > _WIDEST):
                break
            if wide >= _NARROWEST:
                found.append((first, end))
    return found


def _pieces(text: str, runs: list[Range]) -> list[tuple[Range, bool]]:
    """Ranges without the blanks around them, and whether each stands alone: the head of a run that repeats itself."""
    run_ends = dict(runs)
    cuts = {
        0,
        len(text),
        *(end.end() for end in _END.finditer(text)),
        *(edge for run in runs for edge in run),
    }
    found: list[tuple[Range, bool]] = []
    passed = 0
    for first, end in pairwise(sorted(cuts)):
        if first in run_ends:
            passed = run_ends[first]
            if (head := text[first : min(first + _HEAD, passed)]).strip():
                found.append(((first, first + len(head)), True))
        if end > passed and (kept := text[first:end].strip()):
            start = text.index(kept, first)
            found += [(part, False) for part in _sliced(text, start, start + len(kept))]
    return found


def _sliced(text: str, first: int, end: int) -> list[Range]:
    """A range as it is, or in equal parts of about half the widest passage, cut after a space where one is near."""
    wide = width(text[first:end])
    if wide <= _WIDEST:
        return [(first, end)]
    count = int(wide // (_WIDEST / 2)) + 1
    cuts = [first]
    for number in range(1, count):
        near = first + number * (end - first) // count
        space = text.find(" ", near, min(near + 15, end))
        cuts.append(space + 1 if space >= 0 else near)
    return [(start, stop) for start, stop in pairwise([*cuts, end]) if stop > start]


def _plain_with_places(text: str) -> tuple[str, Array]:
    """The plain form that features are made of, but for folding, and where each of its characters stands in the text."""
    low = text.lower()
    if len(low) != len(text):  # a letter whose small form is two
        low = "".join(small if len(small := one.lower()) == 1 else one for one in text)
    told, places = [" "], [np.array([-1])]
    for word in _WORD.finditer(_DIGIT.sub("0", low)):
        told += [word[0], " "]
        places.append(np.arange(word.start(), word.end() + 1))
    return "".join(told), np.concatenate(places)
