"""Print what the package needs with the extras that are named: ``python requirements.py cpu redis``.

pip checks hashes of files alone: it takes no folder then, and so not ``.[cpu,redis]``.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).with_name("pyproject.toml")


def requirements(extras: Sequence[str]) -> list[str]:
    """Of pyproject.toml: the dependencies, then those of each extra."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [
        one for extra in extras for one in project["optional-dependencies"][extra]
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join([*requirements(sys.argv[1:]), ""]))
