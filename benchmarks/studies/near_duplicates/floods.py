"""Floods: one text in thousands of mutated copies, carried by the flow, and how often the engine is asked."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.schemas import AssessedBy
from unit.pipeline.fakes import Bench, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
    from sluicegate.schemas import Severity
    from unit.pipeline.fakes import MemoryDelivery

TEXT = "Good morning to all of you, come to our shop this evening and bring your friends 😂😂😂😂😂 it is gooooood!!!!!"
_LEET = {"o": "0", "e": "3", "i": "1", "a": "4"}
_ALIKE = {"o": "о", "e": "е", "i": "і", "a": "а", "c": "с"}
_UNSEEN = "\u200b\u200c\u200d\u2060"


def _each(text: str, share: float, draw: random.Random, change: Callable[[str], str]) -> str:
    return "".join(change(one) if draw.random() < share else one for one in text)


def _invisible(text: str, draw: random.Random) -> str:
    return _each(text, 0.2, draw, lambda one: one + draw.choice(_UNSEEN) if one.isalpha() else one)


def _blanks(text: str, draw: random.Random) -> str:
    return "".join(one * draw.randint(1, 2) if one == " " else one for one in text)


def _repeats(text: str, draw: random.Random) -> str:
    for run in ("o", "!"):
        text = text.replace(run * 5, run * draw.randint(5, 12))
    return text


def _words(text: str, draw: random.Random) -> str:
    return f"{text} {''.join(draw.choices(string.ascii_lowercase, k=6))}"


MUTATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "invisible characters": _invisible,
    "repeats from five on": _repeats,
    "both of these": lambda text, draw: _invisible(_repeats(text, draw), draw),
    "blanks": _blanks,
    "capitals": lambda text, draw: _each(text, 0.3, draw, str.swapcase),
    "look-alikes": lambda text, draw: _each(text, 0.3, draw, lambda one: _ALIKE.get(one, one)),
    "leet": lambda text, draw: _each(text, 0.3, draw, lambda one: _LEET.get(one, one)),
    "short repeats": lambda text, draw: _each(
        text, 0.2, draw, lambda one: one * draw.randint(2, 4) if one.isalpha() else one
    ),
    "emoji between words": lambda text, draw: _each(
        text, 0.9, draw, lambda one: f" {draw.choice('🎉🔥✨🚀')} " if one == " " else one
    ),
    "a word at the end": _words,
    "a number at the end": lambda text, draw: f"{text} {draw.randint(0, 10**9)}",
}
"""The first three the shipped rule admits."""
ADMITTED = 3


@dataclass(frozen=True)
class Flood:
    """What one flood cost."""

    mutation: str
    copies: int
    distinct: int
    """Different texts among them."""
    prompts: int
    """Scored by the engine."""
    reused: int
    """Verdicts by near_duplicate."""

    @property
    def admitted(self) -> bool:
        """Whether the shipped rule is meant to see through it."""
        return self.mutation in [*MUTATIONS][:ADMITTED]

    @property
    def share(self) -> float:
        """Prompts scored, of one for each copy."""
        return self.prompts / self.copies


class _Counting(FakeEngine):
    prompts = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.prompts += len(prompts)
        return await super().score(prompts, timeout_s=timeout_s)


async def flood(mutation: str, copies: int, *, severity: Severity = "safe", seed: int = 1) -> Flood:
    """Carry one flood, as fast as the window takes it: harder than one that comes over a minute."""
    draw = random.Random(seed)  # noqa: S311 - a measurement that can be repeated
    texts = [MUTATIONS[mutation](TEXT, draw) for _ in range(copies)]
    engine = _Counting(FakeProfile.h100(rules=dict.fromkeys(string.ascii_letters, severity)))
    stand = Bench(engine=engine, tree={"cache": {"near_duplicates": {"enabled": True}}})

    async def source() -> AsyncIterator[MemoryDelivery]:
        for number, text in enumerate(texts):
            yield stand.delivery({"id": str(number), "text": text}, number)

    await stand.flow.run(singly(source()))
    reused = sum(one.assessed_by is AssessedBy.NEAR_DUPLICATE for one in stand.outlet.verdicts)
    if len(stand.acknowledged) != copies:
        raise RuntimeError(
            f"{copies - len(stand.acknowledged)} copies were lost; that is a fault of the flow"
        )
    return Flood(mutation, copies, len(set(texts)), engine.prompts, reused)
