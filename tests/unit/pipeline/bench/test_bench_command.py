"""What `sluicegate bench` refuses before it sends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def refusal(folder: Path, *options: str) -> BaseException:
    found = CliRunner().invoke(command.app, ["bench", "--out", str(folder / "report"), *options])
    assert found.exit_code == 1
    assert not (folder / "report").exists()
    assert found.exception is not None
    return found.exception


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fail-if", "p99>5"], "no figure is called p99"),
        (["--fail-if", "quick"], "write one such as 'p99_ms>500'"),
        (["--rate", "5000", "--duration", "86400"], "change --rate or --duration"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    error = refusal(tmp_path, *options)
    assert isinstance(error, BenchError)
    assert sentence in str(error)


def test_a_file_without_posts_or_without_a_report_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    assert "has no lines" in str(refusal(tmp_path, str(empty)))
    assert "give its bench.json" in str(refusal(tmp_path, "--beside", str(empty)))
    assert isinstance(refusal(tmp_path, str(tmp_path / "missing.jsonl")), FileNotFoundError)
