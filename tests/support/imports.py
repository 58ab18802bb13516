"""Notes which modules a process asks for, whether they are installed or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Python runs a module of this name before anything else.
_SITECUSTOMIZE = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if "." not in name:
            with open(os.environ["WATCH_FILE"], "a") as file:
                file.write(name + "\\n")

sys.meta_path.insert(0, Watch())
"""


def watch(folder: Path) -> dict[str, str]:
    """Environment with which a Python process, and its children, note what they import."""
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "WATCH_FILE": str(folder / "imported.txt")}


def imported(folder: Path) -> set[str]:
    """Top-level modules that the watched processes have asked for."""
    return set((folder / "imported.txt").read_text().split())
