"""docs/adapt-export.md against the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from sluicegate.engines.adapt.export import ship
from sluicegate.engines.bundle.calibration import CALIBRATION
from sluicegate.engines.bundle.manifest import MANIFEST
from sluicegate.engines.cpu_model import shipped
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt.export import Target

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapt-export.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_of_the_page_has_these_options() -> None:
    seen = set()
    for command in COMMANDS:
        if command[0] != "sluicegate":
            continue
        shown = CliRunner().invoke(app, [*command[1:3], "--help"], env={"COLUMNS": "200"}).stdout
        assert {one for one in command if one.startswith("--") and one not in shown} == set()
        seen.add(command[2])
    assert seen == {"export", "evaluate", "calibrate", "gate"}


def test_the_page_names_every_target_and_what_ships() -> None:
    assert re.findall(r"^\| `([a-z][a-z_-]+)` \|", PAGE, re.MULTILINE) == [one.value for one in Target]
    for name in (shipped.ADAPTER_WEIGHTS, shipped.ADAPTER_FACTS, MANIFEST, CALIBRATION):
        assert f"`{name}`" in PAGE
    folder = shipped.adapter_folder()
    assert f"`engines/assets/{folder.parent.name}/{folder.name}/`" in PAGE
    assert f"at most {ship.MOST_BYTES // 1_000_000} MB" in PAGE


def test_scripts_that_the_page_runs_are_there() -> None:
    assert any(command[:3] == ["python", "-m", ship.__name__] for command in COMMANDS)
    (script,) = (one[1] for one in COMMANDS if one[0] == "python" and one[1] != "-m")
    assert (ROOT / script).exists()
