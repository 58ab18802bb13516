"""A build that merges: the plan's own command, run as a process of its own, on a tiny Qwen3 of chance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.build import run
from support.build_stubs import calls, write_stubs
from support.small_build import write_parts, write_recipe
from support.tiny_checkpoint import HIDDEN

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.adapt
def test_the_adapter_is_in_the_checkpoint_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415 - of the extra `adapt`
    from safetensors.torch import load_file  # noqa: PLC0415 - the same
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 - the same

    monkeypatch.setenv("PATH", f"{write_stubs(tmp_path / 'stubs')}:{os.environ['PATH']}")
    write_parts(tmp_path)
    (tmp_path / "base" / "model.safetensors").unlink()
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path / "base"))
    config = (tmp_path / "base" / "config.json").read_bytes()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "config.json").write_bytes(config)
    recipe = write_recipe(tmp_path, route="pytorch", quantisation="bf16", calibration_data=None)
    plan = run.plan_build(recipe, tmp_path / "work", tmp_path / "out")
    bundle = run.build(plan, lambda _line: None)
    assert calls(tmp_path / "stubs") == ["inspect"]
    before = load_file(tmp_path / "base" / "model.safetensors")[MODULE]
    after = load_file(bundle.path / "served" / "model.safetensors")[MODULE]
    # Two ranks of ones, times alpha / r.
    assert torch.allclose(after - before, torch.full((HIDDEN, HIDDEN), 4.0), atol=1e-5)
