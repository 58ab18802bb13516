"""Calibration: from a model's raw scores to probabilities that keep their word, by kind and language.

``calibration.json`` lies in an engine bundle under the role ``calibration``; its hash in the manifest
makes it part of the bundle's digest. Applying it is pure. Raw scores stay in the assessment cache; what the
policy and the verdict see is calibrated.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.errors import BundleError
from sluicegate.schemas import Kind, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

CALIBRATION = "calibration.json"
CALIBRATION_BYTES = 1 << 20
"""A thousand groups of a hundred knots are a tenth of it."""
_SHOWN = 200

Share = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,8}$")]
"""A language without script or region, such as ``zh``."""
Knot = tuple[Share, Share]
"""Raw and calibrated probability."""
ThresholdName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Temperature(_Part):
    """Divides the logarithms of the three probabilities: above 1 less sure, below 1 surer. Keeps their order."""

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(ge=0.05, le=20)

    def apply(self, scores: Scores) -> Scores:
        """Scores at this temperature."""
        raw = (scores.safe, scores.controversial, scores.unsafe)
        top = max(raw)  # at least a third, so that no weight overflows and the sum is at least 1
        return _normalised([(value / top) ** (1 / self.temperature) for value in raw])


class Isotonic(_Part):
    """Maps two probabilities, each along a line through knots that never falls."""

    method: Literal["isotonic"] = "isotonic"
    risk: tuple[Knot, ...] = Field(min_length=1, max_length=256)
    """P(not safe), raw to calibrated; flat before the first knot and after the last."""
    unsafe: tuple[Knot, ...] = Field(min_length=1, max_length=256)
    """P(unsafe | not safe) likewise."""

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        for name in ("risk", "unsafe"):
            knots: tuple[Knot, ...] = getattr(self, name)
            for (before, low), (after, high) in pairwise(knots):
                if after <= before or high < low:
                    raise ValueError(
                        f"{name}: after the knot [{before:g}, {low:g}] comes [{after:g}, {high:g}]; "
                        "raw values must rise and calibrated ones must not fall"
                    )
        return self

    def apply(self, scores: Scores) -> Scores:
        """Scores along the two lines."""
        raw_risk = min(scores.controversial + scores.unsafe, 1.0)
        # Without any risk there is nothing to split; the raw ratio of two zeros is taken for 0.
        raw_unsafe = scores.unsafe / raw_risk if raw_risk > 0 else 0.0
        risk, unsafe = _along(self.risk, raw_risk), _along(self.unsafe, min(raw_unsafe, 1.0))
        return _normalised([1 - risk, risk * (1 - unsafe), risk * unsafe])


Mapping = Annotated[Temperature | Isotonic, Field(discriminator="method")]


class Threshold(_Part):
    """A bar on calibrated scores that was chosen on the rows the calibration was fitted on."""

    measure: Literal["risk", "unsafe"]
    """As in a policy: ``risk`` is P(not safe)."""
    value: Share
    """What to write into the policy's ``block_at`` or ``review_at``."""
    false_positive_rate: Share
    """Share of the rows below the measure's label that reach it."""
    recall: Share
    """Share of the rows at or above the measure's label that reach it."""


Thresholds = Annotated[dict[ThresholdName, Threshold], Field(max_length=32)]
"""By name, such as ``fpr_1``: at most 1 % false positives."""


class Group(_Part):
    """One kind in some languages."""

    kind: Kind
    languages: tuple[Language, ...] = Field(default=(), max_length=256)
    """Empty: this kind in every language that no other group of it names, and without a language."""
    rows: int = Field(ge=0)
    """So many it was fitted on."""
    mapping: Mapping
    thresholds: Thresholds = Field(default_factory=dict)


class Calibration(_Part):
    """A bundle's calibration; see :meth:`parse`."""

    version: Literal[1] = 1
    data: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of the rows' identities, labels and raw scores that it was fitted on."""
    of: tuple[Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")], ...] = Field(
        default=(), max_length=2
    )
    """Digests of the bundle or the adapter whose scores these were; empty in files of before."""
    groups: tuple[Group, ...] = Field(default=(), max_length=1024)
    fallback: Mapping
    """For what no group holds."""
    thresholds: Thresholds = Field(default_factory=dict)
    """On all rows together."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: set[tuple[str, str | None]] = set()
        for group in self.groups:
            for language in group.languages or (None,):
                if (group.kind, language) in seen:
                    raise ValueError(
                        f"groups: two hold {group.kind} in {language or 'the other languages'}; keep one"
                    )
                seen.add((group.kind, language))
        return self

    @classmethod
    def parse(cls, raw: bytes, name: str = CALIBRATION) -> Self:
        """Read the file's content.

        Args:
            raw: At most :data:`CALIBRATION_BYTES`.
            name: The file, for messages.

        Raises:
            BundleError: Which field is wrong, and the fix.
        """
        if len(raw) > CALIBRATION_BYTES:
            raise BundleError(f"{name}: larger than {CALIBRATION_BYTES} bytes; calibrate again")
        try:
            return cls.model_validate_json(raw, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:_SHOWN]
            said = first["msg"].removeprefix("Value error, ")[:_SHOWN]  # it may quote the file
            raise BundleError(f"{name}: {f'{where}: ' if where else ''}{said}; calibrate again") from None

    def content(self) -> bytes:
        """The file, equal for equal calibrations."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"

    def group(self, kind: Kind, language: str | None) -> Group | None:
        """The group that holds for a text; None where the fallback does.

        Args:
            kind: Of the text.
            language: Its language tag, such as ``zh-Hant``; only what stands before the first dash counts.
        """
        spoken = language.partition("-")[0].lower() if language else None
        rest = None
        for group in self.groups:
            if group.kind != kind:
                continue
            if spoken in group.languages:
                return group
            if not group.languages:
                rest = group
        return rest

    def calibrated(self, scores: Scores, kind: Kind, language: str | None) -> Scores:
        """Calibrated scores: a distribution again, whatever the raw one.

        Args:
            scores: As the engine gave them.
            kind: Of the text.
            language: Its language tag, or None.
        """
        group = self.group(kind, language)
        return (group.mapping if group is not None else self.fallback).apply(scores)


def _along(knots: Sequence[Knot], value: float) -> float:
    """Linear between the knots, flat outside."""
    index = bisect_right(knots, value, key=lambda knot: knot[0])
    if index == 0:
        return knots[0][1]
    if index == len(knots):
        return knots[-1][1]
    (left, low), (right, high) = knots[index - 1], knots[index]
    # The bounds hold whatever rounding does, so that the line never falls.
    return min(max(low + (high - low) * ((value - left) / (right - left)), low), high)


def _normalised(weights: Sequence[float]) -> Scores:
    total = math.fsum(weights)
    safe, controversial, unsafe = (min(weight / total, 1.0) for weight in weights)
    return Scores(safe=safe, controversial=controversial, unsafe=unsafe)
