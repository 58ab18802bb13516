"""The load: when each post comes, fixed before the first one is sent, and its text. Pure.

An open loop: a post comes when its time has come, however long the last one waits, and its latency
counts from that time. A closed loop, or one that counts from when it got round to sending, leaves
out just those posts that had to wait ("coordinated omission").
"""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from sluicegate.pipeline.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MOST_POSTS = 2_000_000
"""Of one run: what is remembered of each post takes 28 bytes, so 56 MB."""

_FLOOD = (1 / 3, 2 / 3)
_FLOOD_SHARE = 0.75  # of the posts in that time
_PEAKS = {"constant": 1.0, "diurnal": 1.8, "burst": 5.0, "flood": 2.0}


class Shape(StrEnum):
    """How the rate moves over a run; its mean is the rate asked for."""

    CONSTANT = "constant"
    """The same all the time."""
    DIURNAL = "diurnal"
    """A day pressed into the run: from a fifth of the rate at night to nine fifths at noon."""
    BURST = "burst"
    """Ten bursts of five times the rate, each for a hundredth of the run; five ninths between them."""
    FLOOD = "flood"
    """Half the rate; in the middle third twice the rate, three in four of them copies of one text."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The plan of a run."""

    shape: Shape
    rate: float
    """Posts a second, in the mean."""
    seed: int
    at_s: array[float]
    """Seconds from the start of the run, growing."""
    copied: bytearray
    """1 for each post that is a copy of the flood's text."""

    @property
    def duration_s(self) -> float:
        """How long posts come."""
        return len(self.at_s) / self.rate


def plan_arrivals(
    shape: Shape, *, rate: float, duration_s: float, seed: int, posts: int | None = None
) -> Arrivals:
    """Fix all arrivals of a run.

    They are those of a Poisson process of the shape's rate, given their number: independent draws
    from the shape, sorted. Equal arguments give equal arrivals.

    Args:
        shape: How the rate moves.
        rate: Posts a second, in the mean.
        duration_s: How long posts come.
        seed: Of the draws.
        posts: Fewer than the rate gives in that time; the run is then as much shorter.

    Raises:
        BenchError: That would be more posts than a run may have, or none.
    """
    count = min(round(rate * duration_s), MOST_POSTS + 1 if posts is None else posts)
    if not 0 < count <= MOST_POSTS:
        raise BenchError(
            f"{rate:g} posts/s for {duration_s:g} s are {round(rate * duration_s):,}, and a run has 1 to "
            f"{MOST_POSTS:,}; change --rate or --duration, or give --posts"
        )
    rng = random.Random(seed)  # noqa: S311 - a seed makes a run repeatable
    places = sorted(_draw(shape, rng) for _ in range(count))
    copied = bytearray(
        shape is Shape.FLOOD and _FLOOD[0] <= place < _FLOOD[1] and rng.random() < _FLOOD_SHARE
        for place in places
    )
    span_s = count / rate
    return Arrivals(shape, rate, seed, array("d", [place * span_s for place in places]), copied)


def level(shape: Shape, place: float) -> float:
    """The rate at a place of the run, from 0 to 1, over its mean."""
    if shape is Shape.DIURNAL:
        return 1 - 0.8 * math.cos(2 * math.pi * place)
    if shape is Shape.BURST:
        return 5.0 if 0.45 <= (place * 10) % 1 < 0.55 else 5 / 9
    if shape is Shape.FLOOD:
        return 2.0 if _FLOOD[0] <= place < _FLOOD[1] else 0.5
    return 1.0


def _draw(shape: Shape, rng: random.Random) -> float:
    while True:
        place = rng.random()
        if rng.random() * _PEAKS[shape] < level(shape, place):
            return place


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
