"""A build of a tiny checkpoint: recipe, posts, adapter, and a runner for which nothing heavy is needed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import yaml
from safetensors.numpy import save
from typer.testing import CliRunner

from sluicegate.engines.adapt.export import export as door
from sluicegate.engines.adapt.export.weights import WrittenWeights
from sluicegate.engines.backends.gpu import Gpu
from sluicegate.engines.build.commands import run_command
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.pipeline.command import app
from support.tiny_checkpoint import HIDDEN, write_tiny_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0", 81_559, "570.86.15", "GPU-1111")
A100 = Gpu("NVIDIA A100-SXM4-80GB", "8.0", 81_920, "570.86.15", "GPU-2222")
POST = "a post of the tenant, number"


def write_recipe(folder: Path, **changes: Any) -> BuildRecipe:
    """Write the small recipe with these changes, and read it; None removes a field."""
    document = {
        "schema_version": "1.0",
        "name": "small",
        "route": "engine",
        "gpu": "H100",
        "quantisation": "fp8",
        "base": {"checkpoint": "base", "layout": "vendor", "licence": "Apache-2.0"},
        "adapter": {"folder": "trained", "override": "a test"},
        "calibration_data": {"posts": "posts.jsonl", "count": 8, "max_tokens": 1500},
        "limits": {"max_prompt_tokens": 1500, "max_input_len": 1600, "max_seq_len": 1700},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in document.items() if value is not None}))
    return BuildRecipe.load(path)


def write_parts(folder: Path) -> None:
    """Write the base, an adapter and posts."""
    write_tiny_checkpoint(folder / "base")
    (folder / "base" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "trained").mkdir()
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {
        f"{module}.lora_A.weight": np.ones((2, HIDDEN), np.float32),
        f"{module}.lora_B.weight": np.ones((HIDDEN, 2), np.float32),
    }
    (folder / "trained" / "adapter_model.safetensors").write_bytes(save(factors))
    (folder / "trained" / "adapter_config.json").write_bytes(
        orjson.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]})
    )
    write_posts(folder, [f"{POST} {number}" for number in range(12)])


def write_posts(folder: Path, texts: Sequence[str]) -> None:
    """Write the posts to calibrate on."""
    lines = [orjson.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (folder / "posts.jsonl").write_bytes(b"\n".join(lines) + b"\n")


@dataclass
class SmallRunner:
    """Runs commands, ours in this process: options are read as users give them, and the merge copies the base."""

    ran: list[str] = field(default_factory=list)
    """Programs of ours that ran."""

    def __call__(self, command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
        """Run one."""
        if command[0] != "sluicegate":
            return run_command(command, log, still)
        self.ran.append(command[2])
        done = CliRunner().invoke(app, list(command[1:]))
        log.write_text(f"{done.output}{done.exception or ''}")
        return done.exit_code


def merge_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an export of a merged checkpoint copy the base instead."""

    def copied(
        form: str, parts: Any, _adapter: Any, _source: Path, target: Path, *, name: str
    ) -> WrittenWeights:
        assert form == "hf-merged"
        shutil.copytree(parts.folder, target / "checkpoint")
        names = sorted(path.name for path in (target / "checkpoint").iterdir())
        roles = {f"checkpoint_{number}": f"checkpoint/{name}" for number, name in enumerate(names, 1)}
        return WrittenWeights(roles, "float32", "Hugging Face checkpoint")

    monkeypatch.setattr(door, "write_weights", copied)
