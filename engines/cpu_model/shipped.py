"""What the package brings of the CPU model: manifests that pin every byte, and the adapter that is merged in.

The adapter's folder is written by ``sluicegate.engines.adapt.export.ship``. Without it, the base alone is
what there is.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.bundle import MANIFEST
from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter, parse_adapter
from sluicegate.engines.errors import ExportError

ADAPTER_WEIGHTS: Final = "adapter.safetensors"
ADAPTER_FACTS: Final = "adapter.json"
_MODEL = "smollm2-135m"


def base_manifest() -> bytes:
    """The manifest of the base, as nobody adapted it."""
    return (files("sluicegate.engines") / "assets" / "bundles" / f"{_MODEL}.json").read_bytes()


def adapter_folder() -> Path:
    """Where the shipped adapter lies in the package, if there is one."""
    return Path(str(files("sluicegate.engines"))) / "assets" / "adapters" / _MODEL


def manifest(*, base: bool = False) -> bytes:
    """The manifest of the CPU model.

    Args:
        base: True for the base even where an adapter is shipped.
    """
    path = adapter_folder() / MANIFEST
    return path.read_bytes() if not base and path.is_file() else base_manifest()


class AdapterFacts(BaseModel):
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
        facts = AdapterFacts.model_validate_json((folder / ADAPTER_FACTS).read_bytes())
        raw = (folder / ADAPTER_WEIGHTS).read_bytes()
    except (OSError, ValidationError) as error:
        raise ExportError(f"{folder / ADAPTER_FACTS} is damaged ({type(error).__name__}); {again}") from error
    adapter = parse_adapter(raw, r=facts.r, alpha=facts.alpha, name=ADAPTER_WEIGHTS)
    if adapter.digest != facts.digest:
        raise ExportError(f"{ADAPTER_WEIGHTS} is {adapter.digest}, not {facts.digest}; {again}")
    return adapter
