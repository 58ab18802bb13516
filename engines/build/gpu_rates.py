"""How fast the kinds of GPU compute and read, from their data sheets, and what they may cost. Nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sluicegate.engines.build.gpu_kinds import GpuName


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
