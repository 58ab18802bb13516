"""``make test-pythons``: unit and contract tests on every Python from the floor up that this machine has.

python -m pythons.run               every one
python -m pythons.run 3.12 3.13     those alone

Each has an environment of its own in .cache/pythons, installed as `make install` does. A line is printed for each:
what passed, or why it was left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
"""What the package is tested on."""

_CACHE = ROOT / ".cache" / "pythons"
_TESTS = ("tests/unit", "tests/contract")
_ASK = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


def number(version: str) -> tuple[int, ...]:
    """A version as numbers, to be compared."""
    return tuple(int(part) for part in version.split("."))


def floor() -> str:
    """The oldest version that the package takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["requires-python"]).removeprefix(">=")


def places() -> Iterator[Path]:
    """Programs that may be a Python: those of PATH, then those of pyenv."""
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
    if found := shutil.which("python3"):
        yield Path(found)
    yield from sorted(Path("/usr/bin").glob("python3.*[0-9]"))
    yield from sorted(
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/*/bin/python3.*[0-9]")
    )


def pythons(candidates: Iterable[Path]) -> dict[str, Path]:
    """The first program of each exact version, of those that run at all."""
    found: dict[str, Path] = {}
    for path in candidates:
        asked = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False, timeout=30)
        if asked.returncode == 0:
            found.setdefault(asked.stdout.strip(), path)
    return dict(sorted(found.items(), key=lambda one: number(one[0])))


def left_out(version: str, lowest: str, wanted: Sequence[str]) -> str | None:
    """Why a version is not tested; None if it is."""
    minor = version.rpartition(".")[0]
    if minor not in VERSIONS or (wanted and minor not in wanted and version not in wanted):
        return "not asked for"
    return f"older than the floor, {lowest}" if number(version) < number(lowest) else None


def result(version: str, python: Path) -> tuple[bool, str]:
    """Whether the tests passed, and the last line that they printed."""
    folder = _CACHE / version
    begun = time.monotonic()
    log = folder.with_suffix(f"{folder.suffix}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    steps: Mapping[str, list[str | Path]] = {
        "the installation": ["make", f"VENV={folder}", f"PYTHON={python}", "install"],
        "a test": [
            folder / "bin" / "python",
            "-m",
            *("pytest", "-q", "-n", "2", "--dist", "loadfile"),
            *_TESTS,
        ],
    }
    with log.open("w+", encoding="utf-8") as stream:
        failed = next((step for step, command in steps.items() if not _done(command, stream)), None)
        stream.seek(0)
        last = ["", *stream.read().splitlines()][-1]
    seconds = f"{time.monotonic() - begun:.0f} s"
    if failed is not None:
        return False, f"{failed} failed after {seconds}: {last} ({log})"
    return True, f"{re.sub(r'=+ ?| in .*', '', last)}; {seconds} with the installation"


def _done(command: list[str | Path], log: TextIO) -> bool:
    return subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode == 0


def main(wanted: Sequence[str]) -> int:
    """Print a line for each version; 1 if one failed or none was there."""
    lowest, outcomes = floor(), []
    for version, python in pythons(places()).items():
        reason = left_out(version, lowest, wanted)
        if reason == "not asked for":
            continue
        if reason is None:
            passed, told = result(version, python)
            outcomes.append(passed)
            print(f"{version}: {told}", flush=True)
        else:
            print(f"{version}: left out, {reason} ({python})", flush=True)
    if not outcomes:
        print(f"no Python from {lowest} to {VERSIONS[-1]} here; install one, such as with pyenv or uv")
    return int(not outcomes or not all(outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
