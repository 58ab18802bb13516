"""docs/adapt.md against the code: its rows are rows, its commands run, its tables are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluicegate.engines.adapt.data.decisions import Choices, ConflictSettling, RowDecision
from sluicegate.engines.adapt.data.distribution import _FEW_OF_A_CATEGORY, FEW_ROWS
from sluicegate.engines.adapt.data.near_duplicates import _HASHES, DEFAULT_SIMILARITY
from sluicegate.engines.adapt.data.rows import MADE_IN_FILE
from sluicegate.pipeline.command import app
from support.labelled import read_lines

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapt.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def block(heading: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)[:1]
    return str(found)


def first_column(heading: str) -> list[str]:
    cells = re.findall(r"^\| (`.+?) \|", section(heading), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


COMMANDS = [
    line
    for lines in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in lines.splitlines()
    if line.startswith("sluicegate")
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "labelled.jsonl").write_text(block("Write rows", "json"))
    (tmp_path / "manifest.json").write_text(block("Say under which licence", "json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_every_command_runs_on_the_rows_of_the_page(folder: Path, command: str) -> None:
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert len(read_lines(folder / "prepared" / "train.jsonl")) == 3


@pytest.mark.parametrize(
    ("heading", "language", "name", "options"),
    [
        ("CSV", "csv", "a.csv", []),
        ("The Chinese form", "json", "a.jsonl", ["--map-category", "金融欺诈=Non-violent Illegal Acts"]),
        ("Reviewers' corrections", "json", "a.jsonl", []),
    ],
)
def test_the_other_forms_of_the_page_are_in_order(
    folder: Path, heading: str, language: str, name: str, options: list[str]
) -> None:
    (folder / "in").mkdir()
    (folder / "in" / name).write_text(block(heading, language))
    result = CliRunner().invoke(app, ["adapt", "prepare", "in", "--out", "out", "--strict", *options])
    assert result.exit_code == 0, result.output


def test_the_tables_have_every_field_and_every_fate_and_nothing_else() -> None:
    assert sorted(first_column("Write rows")) == sorted(MADE_IN_FILE)
    assert first_column("What is left out") == [decision.value for decision in RowDecision]


def test_the_page_says_the_defaults_and_the_limits_of_the_code() -> None:
    assert f"at least {DEFAULT_SIMILARITY} (`--similarity`)" in PAGE
    assert f"estimate from {_HASHES} hashes" in PAGE
    assert f"`--dev-share` of {Choices().dev_share}" in PAGE
    assert f"`--conflicts {Choices().conflicts}` (the default)" in PAGE
    assert Choices().near_conflicts is ConflictSettling.KEEP
    assert f"fewer than {FEW_ROWS:,} rows, and categories with fewer than {_FEW_OF_A_CATEGORY};" in PAGE


def test_the_page_names_every_option() -> None:
    shown = set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, ["adapt", "prepare", "--help"]).stdout))
    assert shown - set(re.findall(r"--[a-z-]+", PAGE)) <= {"--help", "--overwrite"}


def test_the_extra_that_the_page_installs_exists() -> None:
    (extra,) = re.findall(r"pip install 'sluicegate\[(\w+)\]'", PAGE)
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
