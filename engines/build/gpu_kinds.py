"""Kinds of GPU that can be built for, and what each computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sluicegate.engines.backends.gpu import Gpu

GpuName = Literal["H100", "H200", "L40S", "L4", "A100"]


@dataclass(frozen=True, slots=True)
class GpuKind:
    """One kind."""

    name: GpuName
    architecture: str
    compute_capability: str
    memory_gib: int
    """Of its usual form, as sold; the machine's own is asked for before a build."""

    @property
    def computes_fp8(self) -> bool:
        """Ada (8.9), Hopper and later multiply in FP8; Ampere does not."""
        major, minor = self.compute_capability.split(".")
        return (int(major), int(minor)) >= (8, 9)

    def is_this(self, gpu: Gpu) -> bool:
        """Whether a machine's GPU is of this kind."""
        named = re.search(rf"\b{self.name}\b", gpu.name) is not None
        return named and gpu.compute_capability == self.compute_capability


GPUS: Final[dict[GpuName, GpuKind]] = {
    kind.name: kind
    for kind in (
        GpuKind("H100", "Hopper", "9.0", 80),
        GpuKind("H200", "Hopper", "9.0", 141),
        GpuKind("L40S", "Ada", "8.9", 48),
        GpuKind("L4", "Ada", "8.9", 24),
        GpuKind("A100", "Ampere", "8.0", 80),
    )
}
