"""The command `sluicegate candidate`, where no cluster is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline.command.candidate import app
from sluicegate.pipeline.errors import CandidateError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("report", ['{"passed": false}', "[]", "{", '{"passed": "yes"}'])
def test_a_report_that_did_not_pass_gates_nothing(tmp_path: Path, report: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(report)
    done = CliRunner().invoke(app, ["gate", "--report", str(path), "--reason", "passed"])
    assert isinstance(done.exception, CandidateError)
    assert "is no report of a gate that was passed" in str(done.exception)


@pytest.mark.parametrize(
    "command", [["register"], ["promote"], ["rollback"], ["start"], ["canary", "--share", "0.1"]]
)
def test_a_command_without_an_experiment_says_what_is_missing(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--reason", "because"])
    assert isinstance(done.exception, CandidateError)
    assert "candidate.experiment is missing" in str(done.exception)


def test_a_reason_is_a_line_that_people_read() -> None:
    done = CliRunner().invoke(app, ["promote", "--reason", " "])
    assert done.exit_code == 2
