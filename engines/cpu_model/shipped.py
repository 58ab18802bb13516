"""What the package brings of the CPU model: manifests that pin every byte, and the adapter that is merged in.

The adapter's folder is written by ``sluicegate.engines.adapt.export.ship``. Without it, the base alone is
what there is.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from sluicegate.engines.bundle.manifest import MANIFEST

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
