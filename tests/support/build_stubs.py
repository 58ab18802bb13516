"""Stubs of docker and nvidia-smi for tests of builds: they write what the real programs would, and fail on demand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

H100 = "NVIDIA H100 80GB HBM3, 9.0, 81559, 570.86.15, GPU-1111"
A100 = "NVIDIA A100-SXM4-80GB, 8.0, 81920, 570.86.15, GPU-2222"

_DOCKER = r"""
import json, os, pathlib, sys, time
control = pathlib.Path(__file__).parent
words = sys.argv[1:]
at = next(i for i, word in enumerate(words) if word.endswith(":1.2.1"))
assert words[0] == "run" and "none" in words[:at]
inner = words[at + 1 :]
stage = "inspect" if inner[1] == "-c" else "compile" if inner[0] == "trtllm-build" else "quantise"
with (control / "calls").open("a") as calls:
    calls.write(stage + "\n")
value = lambda option: pathlib.Path(inner[inner.index(option) + 1])
print("a post's text in a log")
if stage == "inspect":
    versions = json.loads((control / "versions.json").read_text())
    pathlib.Path(inner[-1]).write_text(json.dumps(versions))
    sys.exit(0)
out = value("--output_dir")
out.mkdir()
source = value("--model_dir" if stage == "quantise" else "--checkpoint_dir")
config = json.loads((source / "config.json").read_text())
(out / "half").write_text("half a result")
if (control / f"hang-{stage}").exists():
    (control / "pid").write_text(str(os.getpid()))
    time.sleep(600)
if (control / f"fail-{stage}").exists():
    print((control / f"fail-{stage}").read_text())
    sys.exit(3)
(out / "half").unlink()
if stage == "quantise":
    if "--calib_dataset" in inner:
        lines = (value("--calib_dataset") / "train.jsonl").read_text().splitlines()
        assert all(json.loads(line)["text"].endswith("Safety:") for line in lines)
    (out / "rank0.safetensors").write_text("quantised")
else:
    config = {"pretrained_config": config, "build_config": {"max_input_len": int(str(value("--max_input_len")))}}
    (out / "rank0.engine").write_text("engine")
(out / "config.json").write_text(json.dumps(config))
"""
VERSIONS = '{"tensorrt": "10.13.3.9", "tensorrt_llm": "1.2.1", "torch": "2.9.1"}'


def write_stubs(folder: Path, gpu: str = H100) -> Path:
    """Write the stubs; the folder goes in front of ``PATH``. ``calls`` in it lists the stages that ran.

    A file ``fail-STAGE`` makes a stage print its content and fail, ``hang-STAGE`` makes it stay.
    """
    folder.mkdir()
    (folder / "versions.json").write_text(VERSIONS)
    (folder / "gpu").write_text(gpu)
    for name, code in (
        ("docker", f"#!{sys.executable}\n{_DOCKER}"),
        ("nvidia-smi", f'#!/bin/sh\ncat "{folder}/gpu"\n'),
    ):
        (folder / name).write_text(code)
        (folder / name).chmod(0o755)
    return folder


def calls(folder: Path) -> list[str]:
    """Stages that ran in the container, in order."""
    path = folder / "calls"
    return path.read_text().split() if path.exists() else []
