"""Texts: what the posts of a run say, from a file of posts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson

from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.trial.bench.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_FLOOD_CHARACTERS = 20  # a shorter text has few different copies
_LOOK_FOR_FLOOD = 1_000  # lines
_MARKS = ("!", "?", "…", ".", " !", "!!", " 😀", " 🙏")


def values(
    lines: Callable[[], Iterator[bytes]], arrivals: Arrivals, name: Callable[[int], str]
) -> Iterator[bytes]:
    """The value of each record of a run, in order, one for each arrival.

    The lines come round again where there are fewer of them than arrivals. From the second round on
    each text ends in the round's number, so that no cache answers what only the bench repeats.

    Args:
        lines: Opens the file: its lines, at least one.
        arrivals: How many, and which of them are copies of the flood's text.
        name: The id that a post gets, by its number.

    Raises:
        BenchError: The file has no lines.
    """
    rng = random.Random(arrivals.seed)  # noqa: S311 - a seed makes a run repeatable
    flood = _flood_post(lines()) if any(arrivals.copied) else {}
    going = rounds(lines)
    for number, copied in enumerate(arrivals.copied):
        if copied:
            text = mutated(str(flood.get("text", "")), rng)
            yield orjson.dumps({**flood, "text": text, "id": name(number)})
        else:
            line, rounds_before = next(going)
            yield renamed(line, name(number), rounds_before)


def rounds(lines: Callable[[], Iterator[bytes]]) -> Iterator[tuple[bytes, int]]:
    """Lines for ever, each with how many rounds came before."""
    before = 0
    while True:
        empty = True
        for line in lines():
            empty = False
            yield line, before
        if empty:
            raise BenchError("the file of posts has no lines; give one with one JSON object a line")
        before += 1


def renamed(line: bytes, post_id: str, rounds_before: int) -> bytes:
    """A line with another id, and its round's number at the end of its text; as it is if it is no JSON object.

    A dead letter gives its record's key, which is the id too: so such a line is counted as well.
    """
    document = _parse(line)
    if document is None:
        return line
    text = document.get("text")
    if rounds_before and isinstance(text, str) and text:
        document["text"] = f"{text} ({rounds_before + 1})"
    try:
        return orjson.dumps({**document, "id": post_id})
    except orjson.JSONEncodeError:  # nested deeper than it writes: a dead letter, as it would be anyway
        return line


def mutated(text: str, rng: random.Random) -> str:
    """A copy with one or two small changes that leave every word readable: a mark, a doubled letter, case, a space."""
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(text) + 1)
        before, after = text[:place], text[place:]
        kind = rng.randrange(4)
        if kind == 0 or not after:
            text = f"{text}{rng.choice(_MARKS)}"
        elif kind == 1:
            text = f"{before}{after[0]}{after}"
        elif kind == 2:
            text = f"{before}{after[0].swapcase()}{after[1:]}"
        else:
            text = f"{before} {after}"
    return text


def _flood_post(lines: Iterator[bytes]) -> dict[str, object]:
    """The first post with a text of some length; else the first with any."""
    short: dict[str, object] = {}
    for _, line in zip(range(_LOOK_FOR_FLOOD), lines, strict=False):
        document = _parse(line) or {}
        text = document.get("text")
        if isinstance(text, str) and len(text) >= _FLOOD_CHARACTERS:
            return document
        if isinstance(text, str) and text and not short:
            short = document
    return short or {"text": "the same text, over and over"}


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
