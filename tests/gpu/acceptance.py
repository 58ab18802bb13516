"""Build bundles and measure them, each in a process of its own; what is there already is not done again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from gpu.material import ROOT, write_recipe
from sluicegate.engines.backends.gpu import GPUS

if TYPE_CHECKING:
    from sluicegate.engines.backends.gpu import Gpu, GpuKind

_BUILD_S = 3 * 3600
_MEASURE_S = 3600


class NotRunError(Exception):
    """What keeps a part of the acceptance from being run; one sentence."""


def folder() -> Path:
    """Where bundles and findings go: ``ACCEPTANCE_FOLDER``, or ``gpu-acceptance`` in the repository."""
    found = Path(os.environ.get("ACCEPTANCE_FOLDER") or ROOT / "gpu-acceptance")
    found.mkdir(parents=True, exist_ok=True)
    return found


def guard_checkpoint() -> Path:
    """The mounted 8B weights.

    Raises:
        NotRunError: ``ACCEPTANCE_GUARD`` does not name them.
    """
    named = os.environ.get("ACCEPTANCE_GUARD")
    if not named:
        raise NotRunError(
            "ACCEPTANCE_GUARD names no checkpoint of Qwen3Guard-Gen-8B: make gpu-acceptance GUARD=/models/…"
        )
    if not (Path(named) / "config.json").is_file():
        raise NotRunError(f"ACCEPTANCE_GUARD is {named}, which holds no config.json")
    return Path(named)


def kind_of(gpu: Gpu) -> GpuKind:
    """Which of the kinds that can be built for this GPU is.

    Raises:
        NotRunError: None.
    """
    for kind in GPUS.values():
        if kind.is_this(gpu):
            return kind
    raise NotRunError(f"{gpu.name} ({gpu.compute_capability}) is none of {', '.join(GPUS)}")


def build(name: str, *, checkpoint: Path, gpu: str, quantisation: str, posts: Path) -> Path:
    """Build a bundle, by the command that users run."""
    bundle = folder() / name
    recipe = write_recipe(
        folder(), name, checkpoint=checkpoint, gpu=gpu, quantisation=quantisation, posts=posts
    )
    work = folder() / f"{name}.build"
    command = ["engine", "build", str(recipe), "--work", str(work), "--out", str(bundle)]
    _run([sys.executable, "-m", "sluicegate", *command], folder() / f"{name}.build.log", _BUILD_S)
    return bundle


def measured(bundle: Path, posts: Path, *, throughput_s: float, soak_s: float) -> dict[str, Any]:
    """What :mod:`gpu.measure` finds of a bundle; read from its file where that bundle was measured already."""
    out = bundle.with_name(f"{bundle.name}.json")
    manifest = bundle / "manifest.json"
    if not out.is_file() or out.stat().st_mtime < manifest.stat().st_mtime:
        options = ["--throughput-s", str(throughput_s), "--soak-s", str(soak_s)]
        command = [sys.executable, "-m", "gpu.measure", str(bundle), str(posts), str(out), *options]
        _run(command, bundle.with_name(f"{bundle.name}.measure.log"), _MEASURE_S + throughput_s + soak_s)
    found: dict[str, Any] = orjson.loads(out.read_bytes())
    return found


def _run(command: list[str], log: Path, timeout_s: float) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    with log.open("wb") as sink:
        done = subprocess.run(  # fixed arguments, no shell
            command, stdout=sink, stderr=subprocess.STDOUT, env=environment, timeout=timeout_s, check=False
        )
    if done.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise AssertionError(
            f"{' '.join(command[2:5])} ended with {done.returncode}; end of {log}:\n" + "\n".join(tail)
        )
