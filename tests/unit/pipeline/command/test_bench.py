"""What `sluicegate bench` refuses before it sends anything, and what it tells of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.trial.bench import report, run
from sluicegate.pipeline.trial.bench.figures import Scrapes
from unit.pipeline.trial.bench.records import arrived_ms, ledger, verdict

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


def test_what_went_wrong_is_told_and_the_settling_is_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, loads = ledger(2), []
    found.note_refused(0, "TOPIC_AUTHORIZATION_FAILED")
    found.add(verdict(found, 1, failure={"code": "engine_crash"}), read_ms=arrived_ms(found, 1) + 80)

    async def run_bench(_place: Any, load: run.Load, _progress: Any) -> run.RunOutcome:
        loads.append(load)
        return run.RunOutcome(found, Scrapes(), "", "")

    monkeypatch.setattr(run, "run_bench", run_bench)
    monkeypatch.setattr(report, "draw", lambda *_: None)
    done = CliRunner().invoke(command.app, ["bench", "--out", str(tmp_path), "--settle", "90"])
    assert done.exit_code == 1
    assert [load.settle_s for load in loads] == [90]
    assert "refused: 1 posts (TOPIC_AUTHORIZATION_FAILED 1)\n" in done.stderr
    assert "not scored: 1 posts (engine_crash 1); " in done.stderr
    assert "failed: refused>0, judged<1\n" in done.stderr
    assert "1 failed, 0 dead letters, " in done.stdout
    assert "refused: 1 posts (TOPIC_AUTHORIZATION_FAILED 1)." in (tmp_path / "bench.md").read_text()
