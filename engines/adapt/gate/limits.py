"""Limits: how much worse a new model may be, from ``limits.yaml`` or from a file over it. Needs no numpy."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Rows = Annotated[int, Field(ge=1, le=10_000_000, strict=True)]

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GatePart(BaseModel):
    """Limits for all rows, or for each group of one kind. None judges nothing."""

    model_config = _STRICT

    minimum_rows: Rows
    """Of the rows that a measure rests on: harmful ones for their recall, safe ones for false positives."""
    macro_f1_drop: Share | None = None
    harmful_recall_drop: Share | None = None
    benign_false_positives_rise: Share | None = None
    benign_blocked_rise: Share | None = None
    block_rate_change: Share | None = None
    review_rate_change: Share | None = None


class Always(BaseModel):
    """Bounds on the new model alone, by the number and not by its interval."""

    model_config = _STRICT

    macro_f1_least: Share | None
    harmful_recall_least: Share | None
    benign_false_positives_most: Share | None
    newly_failed_most: Share | None
    well_formed_least: Share | None
    explained_rows_least: Rows


class GateLimits(BaseModel):
    """Content of a file of limits, over the built-in one."""

    model_config = _STRICT

    overall: GatePart
    language: GatePart
    category: GatePart
    kind: GatePart
    source: GatePart
    always: Always

    @classmethod
    def over_built_in(cls, written: Any) -> Self:
        """The built-in limits with what a file writes in their place.

        Args:
            written: Plain values as YAML gives them; None is an empty file.

        Raises:
            ValidationError: A key is unknown, or a value is no limit. Its place is one of ``written``.
        """
        if written is None:
            written = {}
        if not isinstance(written, dict):
            return cls.model_validate(written)
        built_in = _built_in()
        merged = {
            name: {**built_in[name], **part} if isinstance(part, dict) and name in built_in else part
            for name, part in written.items()
        }
        return cls.model_validate({**built_in, **merged})


def built_in_text() -> str:
    """The built-in file, comments included."""
    return (resources.files("sluicegate.engines.adapt.gate") / "limits.yaml").read_text("utf-8")


@cache
def _built_in() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(built_in_text())
    return read
