"""Fixtures of the acceptance on a GPU: engines are built and measured once, and the tests read what was found."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from gpu import acceptance
from gpu.material import acceptance_posts, write_posts, write_small_checkpoint
from sluicegate.engines.backends.gpu import first_visible, probe_gpus

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.backends.gpu import GpuKind

_SMALL_POSTS = 200


def _or_skip(work: Any, *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except acceptance.NotRunError as error:
        pytest.skip(f"NOT RUN: gpu tests: {error}")


@pytest.fixture(scope="session")
def kind() -> GpuKind:
    found: GpuKind = _or_skip(acceptance.kind_of, first_visible(probe_gpus()))
    return found


@pytest.fixture(scope="session")
def posts() -> Path:
    return write_posts(acceptance.folder() / "posts.jsonl", acceptance_posts())


@pytest.fixture(scope="session")
def small_checkpoint() -> Path:
    folder = acceptance.folder() / "small"
    if not folder.is_dir():
        new = folder.with_name("small.new")
        shutil.rmtree(new, ignore_errors=True)
        write_small_checkpoint(new).rename(folder)
    return folder


@pytest.fixture(scope="session")
def small_bundle(kind: GpuKind, small_checkpoint: Path, posts: Path) -> Path:
    return acceptance.build(
        "small-bf16", checkpoint=small_checkpoint, gpu=kind.name, quantisation="bf16", posts=posts
    )


@pytest.fixture(scope="session")
def small(small_bundle: Path) -> dict[str, Any]:
    few = write_posts(acceptance.folder() / "few-posts.jsonl", acceptance_posts()[:_SMALL_POSTS])
    return acceptance.measured(small_bundle, few, throughput_s=10, soak_s=60)


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    found: Path = _or_skip(acceptance.guard_checkpoint)
    return found


@pytest.fixture(scope="session")
def plain(kind: GpuKind, checkpoint: Path, posts: Path) -> dict[str, Any]:
    """The 8B guard in BF16: what the quantised one is held to."""
    bundle = acceptance.build(
        "guard-bf16", checkpoint=checkpoint, gpu=kind.name, quantisation="bf16", posts=posts
    )
    return acceptance.measured(bundle, posts, throughput_s=0, soak_s=0)


@pytest.fixture(scope="session")
def quantisation(kind: GpuKind) -> str:
    return "fp8" if kind.computes_fp8 else "w4a16_awq"


@pytest.fixture(scope="session")
def guard(kind: GpuKind, checkpoint: Path, posts: Path, quantisation: str) -> dict[str, Any]:
    """The 8B guard as it is served."""
    bundle = acceptance.build(
        "guard", checkpoint=checkpoint, gpu=kind.name, quantisation=quantisation, posts=posts
    )
    soak_s = 60 * float(os.environ.get("ACCEPTANCE_SOAK_MINUTES", "20"))
    return acceptance.measured(bundle, posts, throughput_s=60, soak_s=soak_s)
