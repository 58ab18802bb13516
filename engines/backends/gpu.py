"""GPUs: the one of this machine, as the driver tells it, and the kinds that an engine is built for.

Whether a bundle was built for this machine's GPU is checked here, too. Loads no GPU runtime.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sluicegate.engines.bundle import MANIFEST, Manifest
from sluicegate.engines.errors import BundleError, EngineSetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_FIELDS = ("name", "compute_cap", "memory.total", "driver_version", "uuid")
QUERY: Final = ("nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_TIMEOUT_S = 30  # a driver that wakes its GPUs takes seconds


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    """Such as ``NVIDIA H100 80GB HBM3``."""
    compute_capability: str
    """Such as ``9.0``."""
    memory_mib: int
    driver: str
    uuid: str


def probe_gpus() -> list[Gpu]:
    """Ask the driver, through ``nvidia-smi``, for the GPUs of this machine. Blocking, up to 30 s.

    Raises:
        EngineSetupError: There is no driver, or its answer cannot be read.
    """
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
        return [_gpu(line) for line in done.stdout.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise EngineSetupError(
            "nvidia-smi is not there: this needs a machine, or a container, with an NVIDIA driver"
        ) from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineSetupError(
            f"nvidia-smi gave no usable answer ({type(error).__name__}); run it by hand and mend the driver"
        ) from error


def _gpu(line: str) -> Gpu:
    name, capability, memory, driver, uuid = (part.strip() for part in line.split(","))
    if not (name.isprintable() and driver.isprintable()):
        raise ValueError("control characters")
    return Gpu(name[:200], capability[:8], int(memory), driver[:40], uuid[:80])


def wished_device() -> str:
    """The GPU that a program of this process would take, as ``CUDA_VISIBLE_DEVICES`` names it; else the first."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()


def first_visible(gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that a program of this process would take: the first that ``CUDA_VISIBLE_DEVICES`` leaves.

    Args:
        gpus: All that the driver tells of, in its order.

    Raises:
        EngineSetupError: There is none.
    """
    wish = wished_device()
    for index, gpu in enumerate(gpus):
        if wish == str(index) or (wish.startswith("GPU-") and gpu.uuid.startswith(wish)):
            return gpu
    raise EngineSetupError(
        f"CUDA_VISIBLE_DEVICES leaves no GPU of the {len(gpus)} that the driver tells of; name one of them"
    )


def check_gpu(manifest: Manifest, probe: Callable[[], Sequence[Gpu]] | None = None) -> None:
    """Make sure that a bundle was built for the GPU of this machine.

    An engine is compiled for one kind of GPU; a checkpoint for the PyTorch runtime takes any of the same compute
    capability. Nothing is asked for a bundle that ``sluicegate engine build`` did not write.

    Args:
        manifest: Of the bundle.
        probe: Gives the machine's GPUs; :func:`probe_gpus` unless given.

    Raises:
        BundleError: Which field differs, and the fix.
        EngineSetupError: The machine's GPU cannot be asked for.
    """
    build = manifest.build
    if build is None:
        return
    gpu = first_visible((probe or probe_gpus)())
    _same("build.compute_capability", build.compute_capability, gpu.compute_capability, "this GPU has")
    if build.route == "engine":
        _same("build.gpu", build.gpu, gpu.name, "this GPU is")


def _same(field: str, built: str, found: str, here: str) -> None:
    if built != found:
        raise BundleError(
            f"{MANIFEST}: {field} is {built}, {here} {found}; run it where it was built for, "
            "or build it here with `sluicegate engine build`"
        )


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
