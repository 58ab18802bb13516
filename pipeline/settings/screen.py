"""The sections ``screen`` and ``worker``: the light model before the engine, and what a worker is there for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class WorkerSettings(BaseModel):
    """What a worker is there for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["judge", "screen"] = Field(
        "judge",
        description="judge has an engine; screen has none, answers what its screen may and forwards the rest.",
    )


class ScreenSettings(BaseModel):
    """The screen: a light CPU model that answers what it is sure of. Whose posts it may answer, the policy says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(None, description="Folder of the screen; without one there is none.")
    digest: str | None = Field(None, description="Pinned digest: another screen is refused.")
    sample_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="This share of its answers is judged by the engine instead, and compared.",
    )
    off_confidence: float = Field(
        0.999,
        ge=0.9,
        lt=1,
        description="At this certainty that more of its allows are wrong than tolerated, every worker switches it off.",
    )
    off_samples: int = Field(
        10_000, ge=100, le=10_000_000, description="After this number of samples the count begins again."
    )
    from_edge: bool = Field(
        default=False,
        description="Set it only where your own edge alone writes topics.posts. Then what a record says of samples is believed.",
    )

    @model_validator(mode="after")
    def _pins_something(self) -> Self:
        if self.digest is not None and self.path is None:
            raise ValueError(
                "screen.digest pins a screen, and there is none: give screen.path, for example /screens/first, "
                "or leave screen.digest out"
            )
        return self
