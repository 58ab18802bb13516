"""The quick start, as a newcomer would go through it: its commands verbatim, and what they are said to print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(script: str, folder: Path) -> str:
    """A block of commands, in a shell that stops at the first one that fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def stands_in(line: str, output: str) -> bool:
    """Is the line printed? An ellipsis stands for anything."""
    pattern = ".*".join(re.escape(part) for part in line.split("…"))
    return re.search(f"^{pattern}$", output, re.MULTILINE) is not None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_command_does_what_the_page_says(tmp_path: Path) -> None:
    output, shown, demos = "", 0, []
    for language, block in BLOCKS:
        if language == "sh":
            output = run(block, tmp_path)
            demos += re.findall(r"^demo: .*allow (\d+), review (\d+)", output, re.MULTILINE)
        else:
            assert language == "text", "a block is either commands or what they print"
            for line in filter(None, block.splitlines()):
                assert stands_in(line, output), f"{line!r} is not in:\n{output}"
                shown += 1
    assert shown > 10
    (allowed, reviewed), (allowed_later, reviewed_later) = demos
    assert int(allowed_later) < int(allowed)
    assert int(reviewed_later) > int(reviewed)


def test_the_page_leads_from_a_new_policy_to_a_changed_verdict() -> None:
    commands = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
    order = [
        "sluicegate policy new policy.yaml",
        "sluicegate demo --engine fake --limit 60 --policy policy.yaml",
        "sed ",
        "sluicegate judge ",
        "sluicegate demo --engine fake --limit 60 --policy policy.yaml",
    ]
    rest = iter(commands)
    for wanted in order:
        assert any(line.startswith(wanted) for line in rest), f"{wanted!r} is not there, or too early"
