"""The manifest of a screen: what it was made of, and what its scores are worth."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.bundle import Calibration, Language, Sha256, Share, Text
from sluicegate.engines.errors import ScreenError
from sluicegate.schemas import Kind

MOST_CHARACTERS: Final = 4096
"""No screen reads a longer text: work is bounded before it begins."""

Step = tuple[Share, Share]
"""A score, and the upper bound of the share wrong among all rows at or above it."""
Steps = Annotated[tuple[Step, ...], Field(max_length=256)]
Script = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,32}$")]
"""First word of a letter's name in Unicode, such as ``LATIN``."""


class ScreenGroup(BaseModel):
    """One kind in one language: what a text has to be like, and how sure its scores are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    language: Language
    rows: int = Field(ge=1)
    """This many held-out rows passed the three bars below; the steps are measured on them."""
    longest: int = Field(ge=1, le=MOST_CHARACTERS)
    """Characters; in a longer text, a harmful sentence could hide among harmless ones."""
    least_known: Share
    """Of a text's features, this many have to be known."""
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


MANIFEST: Final = "manifest.json"
MANIFEST_BYTES: Final = 1 << 20
WEIGHTS: Final = "weights.safetensors"
WEIGHTS_BYTES: Final = 20_000_000
"""No screen is larger."""
AGAIN: Final = "train the screen again with `sluicegate adapt screen`"

_PART = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weights(BaseModel):
    """The file of weights, always :data:`WEIGHTS`."""

    model_config = _PART

    sha256: Sha256
    bytes: int = Field(ge=1, le=WEIGHTS_BYTES)


class ScreenSource(BaseModel):
    """Where some of the training rows are from."""

    model_config = _PART

    licence: Text | None
    rows: int = Field(ge=1)


class ScreenManifest(BaseModel):
    """Content of ``manifest.json``."""

    model_config = _PART

    schema_version: Literal["1.0"] = "1.0"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    features: Sha256
    """Of a fixed text, as the version that trained it hashes it."""
    weights: Weights
    data: Sha256
    """Of the training rows with their labels."""
    rows: int = Field(ge=1)
    sources: Annotated[dict[Text, ScreenSource], Field(max_length=1024)]
    calibration: Calibration
    """From raw scores to probabilities."""
    groups: Annotated[tuple[ScreenGroup, ...], Field(max_length=1024)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({(one.kind, one.language) for one in self.groups}) < len(self.groups):
            raise ValueError("groups: two are of one kind and language; keep one")
        return self

    @property
    def digest(self) -> str:
        """``sha256:…`` over the manifest in canonical form, as bundles have it; it holds the weights' hash."""
        canonical = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    def content(self) -> bytes:
        """The file."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"

    @classmethod
    def parse(cls, raw: bytes, name: str = MANIFEST) -> Self:
        """Read the file's content.

        Raises:
            ScreenError: Which field is wrong, and the fix.
        """
        try:
            return cls.model_validate_json(raw, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            said = first["msg"].removeprefix("Value error, ")[:200]
            raise ScreenError(f"{name}: {where}: {said}; {AGAIN}") from None
