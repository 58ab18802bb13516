"""What a report says of the machine, the versions and the commit: no name, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from shared.report import ROOT


def machine() -> dict[str, str]:
    """Processor, cores and memory."""
    found = {"processor": _processor(), "cores": str(len(os.sched_getaffinity(0)))}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return found | {"memory": f"{memory:.0f} GiB", "system": f"{platform.system()} {platform.machine()}"}


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def installed(*packages: str) -> dict[str, str]:
    """Versions of packages; ``missing`` for one that is not there."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def commit() -> str:
    """The commit of this tree, and whether files differ from it."""
    try:
        short = _git("rev-parse", "--short", "HEAD")
        changed = _git(
            "status", "--porcelain", "--untracked-files=no", "--", "schemas", "engines", "pipeline"
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{short} with changes" if changed else short


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()
