"""The plan: the file that says what a cycle trains from, how often, and what a new model may lose."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic needs it
from typing import Annotated, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.adapt.cycle.trigger import TriggerLimits
from sluicegate.engines.adapt.data.rows import MOST_REPEAT
from sluicegate.engines.adapt.errors import CycleError

_FILE_BYTES: Final = 1 << 20


class CyclePlan(BaseModel):
    """What is trained from, and how often: the file of a cycle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,40}$")] = "weekly"
    tenant: str | None = Field(default=None, description="Whose own adapter; its decisions alone are read.")
    except_tenants: list[str] = Field(
        default=[], description="Whose decisions are not read, such as tenants with a plan of their own."
    )
    core: list[Path] = Field(
        min_length=1, description="Labelled rows that every training has, and folders of them."
    )
    golden: list[Path] = Field(
        default=[], description="Labelled rows to test people and models by. Never learnt."
    )
    recipe: Path = Field(description="What `adapt train` is given.")
    current: str = Field(default="cpu", description="Bundle of the live engine, or `cpu`.")
    sample: int = Field(default=1_000, ge=20, description="Held-out rows that both models judge.")
    limits: Path | None = Field(default=None, description="Limits of the gate, if not the built-in ones.")
    worst_slice: float = Field(default=0.01, ge=0, le=1, description="What any month may lose.")
    worst_untouched: float = Field(
        default=0.05, ge=0, le=1, description="What the cases may lose whose verdict people confirmed."
    )
    most_repeat: int = Field(
        default=1,
        ge=1,
        le=MOST_REPEAT,
        description="How often a pass may show a decision that chance picked, for the posts that it stands for.",
    )
    trigger: TriggerLimits = TriggerLimits()
    seed: int = 0

    @model_validator(mode="after")
    def _one_or_all_but(self) -> Self:
        if self.tenant is not None and self.except_tenants:
            raise ValueError("except_tenants goes without tenant: one tenant's decisions alone are read")
        return self

    def takes(self, tenant: str) -> bool:
        """Whether decisions about a tenant's posts are read."""
        return self.tenant in (None, tenant) and tenant not in self.except_tenants

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file. Paths in it are seen from its folder.

        Raises:
            CycleError: Which field is wrong, and how.
        """
        try:
            document = yaml.safe_load(path.read_bytes()[:_FILE_BYTES])
            plan = cls.model_validate(document)
        except OSError as error:
            raise CycleError(f"{path} cannot be read ({error.strerror}); check the name") from error
        except yaml.YAMLError as error:
            raise CycleError(f"{path} is not YAML; see docs/cycle.md") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise CycleError(f"{path}: {where}: {first['msg']}; see docs/cycle.md") from error
        beside = path.parent
        return plan.model_copy(
            update={
                "core": [beside / one for one in plan.core],
                "golden": [beside / one for one in plan.golden],
                "recipe": beside / plan.recipe,
                "limits": plan.limits and beside / plan.limits,
                "current": plan.current if plan.current == "cpu" else str(beside / plan.current),
            }
        )
