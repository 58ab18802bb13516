"""The adapter that the package brings for the CPU model: its weights, and a file of facts beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.adapt.export.errors import ExportError
from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter, parse_adapter
from sluicegate.engines.cpu_model.shipped import ADAPTER_FACTS, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path


class Facts(BaseModel):
    """Content of ``adapter.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str
    digest: str
    base: str
    r: int = Field(ge=1)
    alpha: float = Field(gt=0)
    targets: Annotated[tuple[str, ...], Field(strict=False)]
    training: str | None = Field(
        default=None, description="Digest of the training's plan, where it is known."
    )


def read_shipped(folder: Path) -> PeftAdapter:
    """Read the shipped adapter.

    Args:
        folder: Its folder in the package.

    Raises:
        ExportError: It is damaged.
    """
    again = "install the package again"
    try:
        facts = Facts.model_validate_json((folder / ADAPTER_FACTS).read_bytes())
        raw = (folder / ADAPTER_WEIGHTS).read_bytes()
    except (OSError, ValidationError) as error:
        raise ExportError(f"{folder / ADAPTER_FACTS} is damaged ({type(error).__name__}); {again}") from error
    adapter = parse_adapter(raw, r=facts.r, alpha=facts.alpha, name=ADAPTER_WEIGHTS)
    if adapter.digest != facts.digest:
        raise ExportError(f"{ADAPTER_WEIGHTS} is {adapter.digest}, not {facts.digest}; {again}")
    return adapter
