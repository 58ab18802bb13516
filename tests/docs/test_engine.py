"""docs/engine.md against the code: its tables are complete, its plans are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from sluicegate.engines.backends.gpu import GPUS
from sluicegate.engines.build.plan import StageName
from sluicegate.engines.build.recipe import BuildLimits, BuildRecipe, CalibrationData

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")


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


def test_the_page_and_every_plan_say_that_nothing_was_measured() -> None:
    assert "was run on a GPU yet" in PAGE
    for plan in (ROOT / "tests" / "golden" / "build").glob("*.txt"):
        assert "are estimates" in plan.read_text(encoding="utf-8")
