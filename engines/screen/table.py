"""Error tables: what a score is worth, by language and kind. Pure."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sluicegate.engines.bundle.calibration import Language, Share
from sluicegate.schemas import Kind

MOST_CHARACTERS: Final = 4096
"""No screen reads a longer text: work is bounded before it begins."""

Step = tuple[Share, Share]
"""A score, and the upper bound of the share wrong among all rows at or above it."""
Steps = Annotated[tuple[Step, ...], Field(max_length=256)]
Script = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,32}$")]
"""First word of a letter's name in Unicode, such as ``LATIN``."""


class Group(BaseModel):
    """One kind in one language: what a text has to be like, and how sure its scores are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    language: Language
    rows: int = Field(ge=1)
    """So many held-out rows passed the three bars below; the steps are measured on them."""
    longest: int = Field(ge=1, le=MOST_CHARACTERS)
    """Characters; in a longer text, a harmful sentence could hide among harmless ones."""
    least_known: Share
    """Of a text's features, so many have to be known."""
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
