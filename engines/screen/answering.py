"""What a screen may answer: groups of posts in which it was measured, the bars that a text has to pass, and the answer."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sluicegate.engines.bundle import Language, Share
from sluicegate.engines.protocol import EngineInfo
from sluicegate.engines.text.forms.invisible import hides_something
from sluicegate.schemas import Kind, Post, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MOST_CHARACTERS: Final = 4096
"""No screen reads a longer text: work is bounded before it begins."""

Step = tuple[Share, Share]
"""A score, and the upper bound of the share wrong among all rows at or above it."""
Steps = Annotated[tuple[Step, ...], Field(max_length=256)]
Script = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,32}$")]
"""First word of a letter's name in Unicode, such as ``LATIN``."""


class ScreenGroup(BaseModel):
    """One kind in one language: what a text has to be like, and how sure the scores are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    language: Language
    rows: int = Field(ge=1)
    """This many held-out rows passed the two bars below; the steps are measured on them."""
    longest: int = Field(ge=1, le=MOST_CHARACTERS)
    """Characters; in a longer text, a harmful sentence could hide among harmless ones."""
    least_known: Share = 1.0
    """Nothing asks for it any more. It stays, because it is part of the digests of files that were written."""
    scripts: Annotated[tuple[Script, ...], Field(min_length=1, max_length=32)]
    """Of letters, that of most rows first; a text without letters of that one, or with any others, is not answered."""
    safe: Steps = ()
    """On P(safe): rows that are not safe are wrong. Empty: never sure of it."""
    unsafe: Steps = ()
    """On P(unsafe): rows that are not unsafe are wrong."""

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        for name in ("safe", "unsafe"):
            steps: Steps = getattr(self, name)
            for (before, more), (after, less) in pairwise(steps):
                if after <= before or less >= more:
                    raise ValueError(f"{name}: scores must rise from step to step, and errors fall")
        return self


def error_of(steps: Steps, score: float) -> float | None:
    """The error at a score: that of the highest step it reaches; None below the lowest."""
    at = bisect_right(steps, score, key=lambda step: step[0])
    return steps[at - 1][1] if at else None


def spoken(language: str) -> str:
    """The language of a tag, without script and region: ``zh`` of ``zh-Hant``."""
    return language.partition("-")[0].lower()


@dataclass(frozen=True, slots=True)
class ScreenAnswer:
    """What a screen says of one post."""

    scores: Scores
    """Probabilities of the three severities, as the policy sees them."""
    severity: Severity
    """``safe`` or ``unsafe``: the side on which it is sure."""
    error: float
    """Upper bound (95 %) of the share of such answers that are wrong, measured on held-out rows of that
    language and kind."""


class Screener(Protocol):
    """What answers posts before the engine does. In service it is a small guard."""

    digest: str
    """Of all that decides its answers."""
    guard: EngineInfo
    """The small guard that is asked."""
    calibrated: bool
    """True if the scores of its answers are."""
    away: str | None
    """Why it rests and answers nothing, for people; None while it is at work."""
    faults: int
    """Calls for posts that failed, whole or late."""

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """One answer for each post, in order; None where the engine has to be asked. May raise: that is None for all."""
        ...


def group_of(post: Post, groups: Mapping[tuple[Kind, str], ScreenGroup]) -> ScreenGroup | None:
    """The group that a post is of; None where no screen may answer it, whatever it finds.

    Args:
        post: The post.
        groups: By kind and language.
    """
    if post.language is None or post.context is not None or len(post.text) > MOST_CHARACTERS:
        return None
    group = groups.get((post.kind, spoken(post.language)))
    if group is None or len(post.text) > group.longest:
        return None
    # What is read has it no more, and who reads the text may.
    return None if hides_something(post.text) else group


def side_of(group: ScreenGroup, safe: float, unsafe: float) -> tuple[Severity, float] | None:
    """The side on which scores are sure, and their error; None where they are not sure enough for any step."""
    severity: Severity = "safe" if safe >= unsafe else "unsafe"
    error = error_of(group.safe, safe) if severity == "safe" else error_of(group.unsafe, unsafe)
    return None if error is None else (severity, error)


def scripts(text: str) -> frozenset[str]:
    """First words of the Unicode names of a text's letters, such as ``LATIN``; marks, digits and signs have none."""
    return frozenset(filter(None, map(_script, set(text))))


def is_written_in(text: str, known: Sequence[str]) -> bool:
    """True if a text has letters of the first of these scripts, and of no others than these.

    Latin words stand in texts of every language: alone, they are most likely another one than the tag says.
    """
    found = scripts(text)
    return known[0] in found and found.issubset(known)


@lru_cache(maxsize=1 << 16)
def _script(one: str) -> str:
    return unicodedata.name(one, "UNNAMED").partition(" ")[0].partition("-")[0] if one.isalpha() else ""


def answer_within(answer: ScreenAnswer | None, tolerance: float) -> bool:
    """True if there is an answer, and its error is not above the tolerance."""
    return answer is not None and answer.error <= tolerance
