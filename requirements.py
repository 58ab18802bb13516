"""Print what the package needs with the extras that are named: ``python requirements.py cpu redis``.

pip checks hashes of files alone: it takes no folder then, and so not ``.[cpu,redis]``.

``python requirements.py --absent`` prints the pinned versions of the packages that this environment has not. They are for an
environment whose own packages have to stay, such as that of NVIDIA's container.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).with_name("pyproject.toml")
PINS = Path(__file__).with_name("constraints.txt")


def requirements(extras: Sequence[str]) -> list[str]:
    """Of pyproject.toml: the dependencies, then those of each extra."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [
        one for extra in extras for one in project["optional-dependencies"][extra]
    ]


def absent() -> list[str]:
    """Of constraints.txt: each package that is not here in any version, without its hashes."""
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)", PINS.read_text(encoding="utf-8"), re.MULTILINE)
    return [f"{name}=={version}" for name, version in pinned if not _is_here(name)]


def _is_here(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    printed = absent() if sys.argv[1:] == ["--absent"] else requirements(sys.argv[1:])
    sys.stdout.write("\n".join([*printed, ""]))
