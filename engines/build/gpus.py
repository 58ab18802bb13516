"""GPUs: the kinds that an engine is built for, and what each of them can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

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


@dataclass(frozen=True, slots=True)
class GpuRates:
    """One kind. TFLOPS are dense: data sheets often print twice as many, with sparsity."""

    bandwidth_gb_s: float
    bf16_tflops: float
    fp8_tflops: float | None
    """None where it does not multiply in FP8."""
    price_per_hour: float
    """Assumed: of the order of what clouds ask. No quote, in no particular currency."""
    source: str


RATES: Final[dict[GpuName, GpuRates]] = {
    "H100": GpuRates(3350, 989, 1979, 3.0, "data sheet of NVIDIA's H100 SXM"),
    "H200": GpuRates(4800, 989, 1979, 4.0, "data sheet of NVIDIA's H200 SXM"),
    "L40S": GpuRates(864, 362, 733, 1.2, "data sheet of NVIDIA's L40S"),
    "L4": GpuRates(300, 121, 242, 0.6, "data sheet of NVIDIA's L4"),
    "A100": GpuRates(2039, 312, None, 1.8, "data sheet of NVIDIA's A100 SXM, 80 GB"),
}
