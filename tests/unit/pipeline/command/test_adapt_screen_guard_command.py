"""``sluicegate adapt screen-guard``: an evaluation and its rows in, the folder that a worker's settings name out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled, rows_digest
from sluicegate.engines.adapt.evaluate.scored import ScoredRow, labelled
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen import GuardManifest
from sluicegate.pipeline.command import app
from support.scored_rows import write_evaluation

if TYPE_CHECKING:
    from pathlib import Path

GUARD = "a" * 64


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", "screen-guard", *map(str, arguments)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """300 English rows, of which a guard can be measured, and 40 German ones, which are too few."""
    path = tmp_path / "dev.jsonl"
    lines = [
        {
            "id": f"r{number}",
            "text": f"Words of row number {number}",
            "kind": "post",
            "severity": "unsafe" if number % 2 else "safe",
            "categories": ["Violent"] if number % 2 else [],
            "source": "forum",
            "language": "en" if number < 300 else "de",
            "split": "dev",
        }
        for number in range(340)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.fixture
def evaluation(tmp_path: Path, rows: Path) -> Path:
    """A guard that is sure of every row, and wrong about every hundredth."""
    read = read_labelled([rows], split="dev").rows
    found = []
    for number, row in enumerate(read):
        sure = 0.9 + 0.0002 * number
        right = (row.severity == "safe") != (number % 100 == 50)
        three = (sure, 0.0, 1 - sure) if right else (1 - sure, 0.0, sure)
        found.append(ScoredRow(**labelled(row), probabilities=three))
    return write_evaluation(tmp_path / "evaluation", found, digest=GUARD, rows_digest=rows_digest(read))


def test_the_folder_says_what_the_guard_answers_and_whose_it_is(
    tmp_path: Path, evaluation: Path, rows: Path
) -> None:
    out = tmp_path / "guard"
    result = run(evaluation, rows, "--out", out)
    assert result.exit_code == 0, result.output
    manifest = GuardManifest.load(out)
    assert (manifest.name, manifest.guard) == ("guard", f"sha256:{GUARD}")
    (group,) = manifest.groups
    assert (group.kind, group.language, group.rows) == ("post", "en", 300)
    assert result.stdout.splitlines() == [
        "post en: 300 of 300 rows",
        "post de: not answered: 40 rows, fewer than 200",
        f"screen: {out}, digest {manifest.digest}, of the guard sha256:{GUARD}",
    ]


def test_json_is_the_manifest_alone(tmp_path: Path, evaluation: Path, rows: Path) -> None:
    result = run(evaluation, rows, "--out", tmp_path / "guard", "--name", "forum-1", "--json")
    document = json.loads(result.stdout)
    assert document == json.loads(GuardManifest.load(tmp_path / "guard").content())
    assert document["name"] == "forum-1"


def test_other_rows_than_those_evaluated_are_refused_and_nothing_is_written(
    tmp_path: Path, evaluation: Path, rows: Path
) -> None:
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join(lines[:-1]))
    result = run(evaluation, rows, "--out", tmp_path / "guard")
    assert isinstance(result.exception, ScreenError)
    assert "the evaluation is of other rows" in str(result.exception)
    assert not (tmp_path / "guard").exists()


@pytest.mark.parametrize("name", ["No Blanks", "../up", "a" * 65])
def test_a_name_that_no_setting_could_carry_is_refused(
    tmp_path: Path, evaluation: Path, rows: Path, name: str
) -> None:
    result = run(evaluation, rows, "--out", tmp_path / "guard", "--name", name)
    assert result.exit_code == 2
    assert "--name: up to 64" in " ".join(result.output.split())
    assert not (tmp_path / "guard").exists()
