"""Parts of a small build, and stubs of docker and nvidia-smi in front of PATH."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.build import run
from support import build_stubs
from support.small_build import SmallRunner, merge_without_torch, write_parts, write_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a build that ran; ``out`` in it is the bundle. To be read only."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        stubs = build_stubs.write_stubs(folder / "stubs")
        patch.setenv("PATH", f"{stubs}:{os.environ['PATH']}")
        merge_without_torch(patch)
        write_parts(folder)
        plan = run.plan_build(write_recipe(folder), folder / "work", folder / "out")
        run.build(plan, lambda _line: None, runner=SmallRunner())
        yield folder


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the stubs; parts of a build lie beside it."""
    folder = build_stubs.write_stubs(tmp_path / "stubs")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    merge_without_torch(monkeypatch)
    write_parts(tmp_path)
    return folder
