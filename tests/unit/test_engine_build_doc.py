"""docs/engine-build.md against the code: its tables are complete, its plans are printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from sluicegate.engines.build.gpus import GPUS
from sluicegate.engines.build.plan import StageName
from sluicegate.engines.build.recipe import BuildLimits, BuildRecipe, CalibrationData
from sluicegate.pipeline.command import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine-build.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """Lines of a section's table by the names in their first column."""
    section = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = re.findall(r"^\| (`.+?) \| (.*) \|$", section, re.MULTILINE)
    return {name: rest for cell, rest in lines for name in re.findall(r"`([^`]+)`", cell)}


def test_the_tables_name_every_field_and_stage() -> None:
    assert set(rows("Write a recipe")) == set(BuildRecipe.model_fields)
    assert list(rows("What a build does")) == list(get_args(StageName))


def test_the_fields_within_a_field_and_their_defaults_are_named() -> None:
    table = rows("Write a recipe")
    for name, field in BuildLimits.model_fields.items():
        assert f"`{name}` {field.default}" in table["limits"]
    for name in ("count", "max_tokens"):
        assert f"`{name}` {CalibrationData.model_fields[name].default}" in table["calibration_data"]
    for section in ("base", "adapter", "lora"):
        kinds = [
            kind
            for kind in (
                BuildRecipe.model_fields[section].annotation,
                *get_args(BuildRecipe.model_fields[section].annotation),
            )
            if hasattr(kind, "model_fields")
        ]
        assert set(re.findall(r"`(\w+)`", table[section])) >= set(kinds[0].model_fields)
    assert set(re.findall(r"`(\w+)`", table["gpu"])) == set(GPUS)


@pytest.mark.parametrize(
    "command",
    [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ],
)
def test_the_commands_print_a_plan(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *arguments = shlex.split(command)
    done = CliRunner().invoke(app, arguments)
    assert (program, done.exit_code) == ("sluicegate", 0)
    assert "trtllm-build" in done.output


def test_the_page_and_every_plan_say_that_nothing_was_measured() -> None:
    assert "was run on a GPU yet" in PAGE
    for plan in (ROOT / "tests" / "golden" / "build").glob("*.txt"):
        assert "are estimates" in plan.read_text(encoding="utf-8")
