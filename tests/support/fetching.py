"""A fetch of the CPU model in a process of its own, which imports this module by its name."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from sluicegate.engines.cpu_model import fetch_cpu_model

if TYPE_CHECKING:
    from pathlib import Path


def fetch_with_log(folder: Path, wheel: Path) -> None:
    lines: list[str] = []
    fetch_cpu_model(destination=folder, sources=[wheel], report=lines.append)
    (folder.parent / f"{multiprocessing.current_process().name}.log").write_text("\n".join(lines))
