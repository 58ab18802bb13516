"""The environment in which vLLM is: made once, apart from the project's own, and never seen by the product."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vllm_cpu.pins import VLLM, WHEELS
from vllm_cpu.stubs import write_stubs

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".venv-vllm"
PYTHON: Final = FOLDER / "bin" / "python"
_STAMP: Final = FOLDER / ".installed"
_LEAST_GIB: Final = 8
_INSTALL_S: Final = 1800


class CannotRunError(Exception):
    """vLLM cannot be run on this machine. The message says why."""


def obstacle() -> str | None:
    """What of this machine keeps vLLM from running; None if nothing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"{VLLM} is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
    if not re.search(r"^flags\s*:.*\bavx2\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        return "this processor has no AVX2"
    free = int(re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]) / 1024**2
    if free < _LEAST_GIB:
        return f"{free:.1f} GiB of memory are free, and {_LEAST_GIB} are needed"
    lacking = [name for name in ("gcc", "readelf") if shutil.which(name) is None]
    return f"no {' and no '.join(lacking)} on PATH" if lacking else None


def is_there() -> bool:
    """True if the environment was made, of today's pins."""
    return _STAMP.is_file() and _STAMP.read_text() == _digest()


def make(say: Callable[[str], object]) -> None:
    """Make the environment, unless it is there. Of one that was begun, what is installed stays.

    Args:
        say: Called with one line for each step.

    Raises:
        CannotRunError: pip, or the compiler, could not.
    """
    if is_there():
        say(f"vLLM is there: {FOLDER.name}")
        return
    begun = time.monotonic()
    say(f"installing {VLLM} and what it stands on in {FOLDER.name}: 0.9 GB to fetch, some minutes")
    _run("make an environment", [sys.executable, "-m", "venv", str(FOLDER)])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run("install", [*pip, "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(WHEELS)])
    (libraries,) = FOLDER.glob("lib/python3*/site-packages/torch/lib")
    say(f"{len(write_stubs(libraries))} empty libraries stand in for NVIDIA's")
    _run("import torch", [str(PYTHON), "-c", "import torch; assert torch.ones(2).sum() == 2"])
    _STAMP.write_text(_digest())
    say(f"installed in {(time.monotonic() - begun) / 60:.1f} min")


def _digest() -> str:
    return hashlib.sha256(WHEELS.read_bytes()).hexdigest()


def _run(what: str, command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise CannotRunError(f"could not {what}: {said[-1] if said else error}") from error
