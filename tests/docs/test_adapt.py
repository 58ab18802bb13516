"""docs/adapt.md against the code: what it says of preparing and of recipes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from docs.pages import blocks, names_in_first_column, section, text
from sluicegate.engines.adapt.data.decisions import Choices, ConflictSettling, RowDecision
from sluicegate.engines.adapt.data.distribution import _FEW_OF_A_CATEGORY, FEW_ROWS
from sluicegate.engines.adapt.data.near_duplicates import _HASHES, DEFAULT_SIMILARITY
from sluicegate.engines.adapt.data.rows import MADE_IN_FILE
from sluicegate.engines.adapt.train.recipe import PRESETS, TrainingRecipe
from sluicegate.pipeline.command import app

if TYPE_CHECKING:
    from pathlib import Path

PAGE = text("adapt")


def example(heading: str) -> str:
    (found,) = re.findall(r"^```\w+[^\n]*\n(.*?)^```", section("adapt", heading), re.MULTILINE | re.DOTALL)[
        :1
    ]
    return str(found)


@pytest.mark.parametrize(
    ("heading", "name", "options"),
    [
        ("CSV", "a.csv", []),
        ("The Chinese form", "a.jsonl", ["--map-category", "金融欺诈=Non-violent Illegal Acts"]),
        ("Reviewers' corrections", "a.jsonl", []),
    ],
)
def test_the_other_forms_of_rows_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heading: str, name: str, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text(example(heading))
    result = CliRunner().invoke(app, ["adapt", "prepare", "in", "--out", "out", "--strict", *options])
    assert result.exit_code == 0, result.output


def test_the_tables_have_every_field_and_every_fate_and_nothing_else() -> None:
    assert sorted(names_in_first_column(section("adapt", "Write rows"))) == sorted(MADE_IN_FILE)
    assert names_in_first_column(section("adapt", "What is left out")) == [one.value for one in RowDecision]


def test_the_page_says_the_defaults_and_the_limits_of_the_code() -> None:
    assert f"at least {DEFAULT_SIMILARITY} (`--similarity`)" in PAGE
    assert f"estimate from {_HASHES} hashes" in PAGE
    assert f"`--dev-share` of {Choices().dev_share}" in PAGE
    assert f"`--conflicts {Choices().conflicts}` (the default)" in PAGE
    assert Choices().near_conflicts is ConflictSettling.KEEP
    assert f"fewer than {FEW_ROWS:,} rows, and categories with fewer than {_FEW_OF_A_CATEGORY};" in PAGE


def test_the_page_names_every_option_of_prepare() -> None:
    shown = set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, ["adapt", "prepare", "--help"]).stdout))
    assert shown - set(re.findall(r"--[a-z-]+", PAGE)) <= {"--help", "--overwrite"}


def fields(model: type[BaseModel], before: str = "") -> set[str]:
    """Names of a model's fields, those of its parts after a point."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            found |= fields(part, f"{name}.")
        else:
            found.add(before + name)
    return found


def test_the_recipes_are_trainings_and_the_table_has_every_field_of_one() -> None:
    assert len(blocks("adapt", "yaml")) == 3
    named: set[str] = set()
    for line in re.findall(r"^\| (`[a-z].*?) \| [^|]*\| ", section("adapt", "Write a recipe"), re.MULTILINE):
        whole = ""
        for name in re.findall(r"`([^`]+)`", line):
            whole = name if not name.startswith(".") else whole.partition(".")[0] + name
            named.add(whole)
    assert named == fields(TrainingRecipe)
    for name, preset in PRESETS.items():
        assert f"`{name}`: r {preset['r']}, alpha {preset['alpha']:g}" in PAGE
