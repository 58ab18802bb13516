"""Flags of the servers that a plan starts, read in the servers' own files; nothing of them is run."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

import pytest

from conformance.wheels import FLAGS, sources
from sluicegate.engines.backends.trtllm import serving
from sluicegate.engines.bundle.bundle import Bundle
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers
LORA = {"max_rank": 16, "target_modules": ["attn_q"]}


def flags_of(project: str) -> set[str]:
    """A literal flag, or a field of settings that becomes one."""
    return {flag for module in FLAGS[project] for flag in _flags_in(sources(project)[module])}


def _flags_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if re.fullmatch(r"--[a-z][a-z-]+", text):
                yield text
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield f"--{name.replace('_', '-')}"


@pytest.mark.parametrize("project", ["vllm", "sglang"])
def test_every_flag_of_a_plan_is_one_that_the_server_has(project: Any, tmp_path: Path) -> None:
    bundle = Bundle.open(write_trtllm_bundle(tmp_path, "pytorch", lora=LORA))
    command = serving.plan_server(bundle, project, port=8000, config=tmp_path, metrics=True).command
    flags = [word for word in command if word.startswith("--")]
    assert len(flags) > 8
    assert [flag for flag in flags if flag not in flags_of(project)] == []
    assert "--no-such-flag" not in flags_of(project)


def test_the_ranks_are_those_that_vllm_takes() -> None:
    (ranks,) = (
        ast.literal_eval(node.value.slice)
        for node in ast.walk(ast.parse(sources("vllm")["vllm.config.lora"]))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Subscript)
        and getattr(node.targets[0], "id", "") == "MaxLoRARanks"
    )
    assert ranks == serving._VLLM_RANKS
