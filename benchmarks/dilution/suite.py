"""The suite: harmful texts, each with something harmless around it, in ten ways. Pure but for reading.

The texts are rows of the shipped sample, and for the last hundred some of ``own-cores.jsonl``, too; ``cores.json`` names
them. What stands around them was written for this suite and lies in ``carriers-*.json``.
The last hundred were judged once, when everything else was done.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.report import SAMPLE
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
OWN = HERE / "own-cores.jsonl"
SETS = {
    "first": {"en": 8, "zh": 7, "es": 2, "fr": 2, "de": 1},
    "second": {"en": 4, "zh": 3, "es": 1, "fr": 1, "de": 1},
    "last": {"en": 2, "zh": 2, "es": 2, "fr": 1, "de": 1, "it": 1, "ar": 1},
}
"""By set: posts of each way in each language."""
NEXT = "\n\n"
"""Between two paragraphs."""
_BLANK_LINES = (20, 60, 200)
_SHORT = 6  # characters of what is repeated: a word, no sentence
_WORDS, _SENTENCES = 1200, 300
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")

_T = TypeVar("_T")
Carriers = dict[str, list[Any]]


@dataclass(frozen=True)
class Diluted:
    """One post of the suite."""

    post: Post
    original: Post
    way: str
    part: str
    """``first`` (300 posts) or ``last``."""


def suite() -> list[Diluted]:
    """All posts, in an order that is always the same."""
    lines = SAMPLE.read_bytes().splitlines() + OWN.read_bytes().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    cores = json.loads((HERE / "cores.json").read_bytes())
    found = []
    for part, quota in SETS.items():
        carriers = json.loads((HERE / f"carriers-{part}.json").read_bytes())
        used = dict.fromkeys(quota, 0)
        for way, write in WAYS.items():
            for language, count in quota.items():
                for number in range(count):
                    ids = cores[part][language]
                    row = rows[ids[used[language] % len(ids)]]
                    used[language] += 1
                    text = write(row["text"], carriers[language], number, carriers["others"])
                    name = f"{part}/{way}/{language}/{number}"
                    facts = {"language": language, "kind": row["kind"]}
                    original = Post(id=f"original/{row['id']}", text=row["text"], **facts)
                    found.append(
                        Diluted(
                            Post(id=name, text=text, **facts),
                            original,
                            way,
                            "last" if part == "last" else "first",
                        )
                    )
    return found


def _turn(choices: Sequence[_T], number: int) -> _T:
    return choices[number % len(choices)]


def _behind(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    return f"{core}{_turn((' ', NEXT), number)}{_turn(own['paragraphs'], number)}"


def _before(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    return f"{_turn(own['paragraphs'], number)}{_turn((' ', NEXT), number)}{core}"


def _both_sides(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    return "\n\n".join((_turn(own["paragraphs"], number), core, _turn(own["paragraphs"], number + 1)))


def _blank_lines(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    blank = "\n" * _turn(_BLANK_LINES, number)
    return f"{core}{blank}{_turn(own['paragraphs'], number)}"


def _flood(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    unit = _turn(own["floods"], number)
    times = _WORDS if len(unit) <= _SHORT else _SENTENCES
    if number % 2 == 0:
        return f"{core} {unit * times}"
    return f"{unit * (times // 2)}{core} {unit * (times // 2)}"


def _polite_question(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    before, after = _turn(own["questions"], number)
    return f"{before} {core} {after}"


def _other_languages(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del own
    return f"{_turn(others['paragraphs'], number)} {core} {_turn(others['paragraphs'], number + 2)}"


def _story_or_list(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    before, after = _turn(own["stories"], number)
    return f"{before}{core}{after}"


def _chat_log(core: str, own: Carriers, number: int, others: Carriers) -> str:
    del others
    before, after = _turn(own["chats"], number)
    line = core.replace("\n", " ")
    return f"{before}{line}{after}"


def _interleaved(core: str, own: Carriers, number: int, others: Carriers) -> str:
    """A sentence of a paragraph, one of the post, and so on; a post of one sentence is cut in its middle."""
    del others
    harmless, harmful = _sentences(_turn(own["paragraphs"], number)), _sentences(core)
    if len(harmful) == 1:
        harmful = _halves(core)
    mixed = [
        one
        for place in range(max(len(harmless), len(harmful)))
        for one in (harmless[place : place + 1] + harmful[place : place + 1])
    ]
    return ("" if harmless[0].endswith("。") else " ").join(mixed)


def _sentences(text: str) -> list[str]:
    return [one.strip() for one in _SENTENCE.split(text) if one.strip()]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    spaces = [place for place in (text.find(" ", middle), text.rfind(" ", 0, middle)) if place >= 0]
    if not spaces:
        return [text[:middle], text[middle:]]
    at = min(spaces, key=lambda place: abs(place - middle))
    return [text[:at], text[at + 1 :]]


WAYS: Mapping[str, Callable[[str, Carriers, int, Carriers], str]] = {
    "a paragraph behind": _behind,
    "a paragraph before": _before,
    "both sides": _both_sides,
    "blank lines and text behind": _blank_lines,
    "a word, hundreds of times": _flood,
    "a polite question around": _polite_question,
    "other languages around": _other_languages,
    "in a story or a list": _story_or_list,
    "in a chat": _chat_log,
    "sentences in between": _interleaved,
}
