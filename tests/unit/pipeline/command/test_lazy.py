"""Commands are imported when they are named, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.lazy import COMMANDS

SHOWN = """
import sys
from sluicegate.pipeline.command import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def modules_of(*arguments: str) -> set[str]:
    """What a command has imported when it ends, in a process of its own."""
    command = (sys.executable, "-c", SHOWN, *arguments)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(done.stderr.split())


def test_following_a_verdict_imports_no_other_command_and_no_client() -> None:
    present = modules_of("trace", "--help")
    ours = {name for name in present if name.startswith("sluicegate.pipeline.command.")}
    folder = "sluicegate.pipeline.command"
    assert ours == {f"{folder}.lazy", f"{folder}.options", f"{folder}.adapt", f"{folder}.adapt.data"}
    assert not present & {"numpy", "confluent_kafka", "aiohttp", "sluicegate.pipeline.settings.tree"}


def test_the_version_imports_no_command() -> None:
    assert "sluicegate.pipeline.command.options" not in modules_of("--version")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    group = typer.main.get_group(app)
    assert group.commands[name].name == name


def test_a_name_that_is_nearly_one_is_told() -> None:
    shown = CliRunner().invoke(app, ["trice"])
    assert shown.exit_code == 2
    assert "trace" in shown.output
