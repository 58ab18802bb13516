"""``sluicegate adapt evaluate`` on the fake engine: files in, a report out, whatever comes between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.errors import EvaluationError, PrepareError
from sluicegate.engines.adapt.evaluate import run as door
from sluicegate.engines.adapt.evaluate.report import PLOTS
from sluicegate.engines.adapt.evaluate.scored import read_scores
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import evaluate as adapt_evaluate
from support.labelled import read_lines, row, sentence, write_lines

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"report.md", "evaluation.json", "scores.jsonl", "answers.jsonl", ".lock", *PLOTS}
UNSEEN = "an unforgettable marzipan lighthouse"


@pytest.fixture(autouse=True)
def _logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.pipeline.observe.logs.configure_logs", lambda _level: None)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", "evaluate", *map(str, arguments)])


def fake(*arguments: str | Path) -> Result:
    return run(*arguments, "--engine", "fake")


def data(folder: Path, count: int = 40) -> Path:
    severities = ("safe", "controversial", "unsafe")
    rows: list[dict[str, Any]] = [
        row(
            id=f"r{at}",
            text=sentence(at),
            severity=severities[at % 3],
            categories=["Violent"] if at % 3 else [],
            language="en" if at % 2 else "de",
            split="dev" if at % 4 else "train",
        )
        for at in range(count)
    ]
    rows += [row(id="bad", severity=UNSEEN), row(id="worst", text=f"{UNSEEN} {sentence(900)}", split="dev")]
    return write_lines(folder / "rows.jsonl", rows)


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((folder / "evaluation.json").read_bytes())
    return found


def test_an_evaluation_writes_everything_and_no_text(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = fake(
        data(tmp_path / "in"), "--out", out, "--split", "dev", "--explain", "all", "--title", "Mine"
    )
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.iterdir()} == FILES
    assert "31 rows by fake, adapter None, backend fake: 31 judged, 0 failed" in result.stdout
    assert "rows.jsonl:41: severity: none of the known values" in result.stderr
    assert "1 faulty rows are left out" in result.stderr
    assert "scoring 31 of 31" in result.stderr
    found = document(out)
    assert found["judged"]["files"][0]["rows"] == 31
    assert (found["judged"]["faulty_rows"], found["judged"]["rows_of_another_split"]) == (1, 10)
    assert found["judged"]["engine"]["backend"] == "fake"
    assert found["judged"]["training_rows"] == 0
    assert len(read_scores(out)) == found["rows"] == found["explanations"]["asked"] == 31
    written = "".join((out / name).read_text() for name in FILES - {*PLOTS, ".lock"})
    assert UNSEEN not in written + result.output
    assert (out / "report.md").read_text().startswith("# Mine\n")


def test_texts_are_in_the_report_when_asked_for(tmp_path: Path) -> None:
    rows = write_lines(
        tmp_path / "rows.jsonl",
        [row(id=str(at), text=f"{UNSEEN} {at}", severity="unsafe", categories=[]) for at in range(9)],
    )
    assert fake(rows, "--out", tmp_path / "out", "--show-text").exit_code == 0
    assert UNSEEN in (tmp_path / "out" / "report.md").read_text()
    assert UNSEEN not in (tmp_path / "out" / "evaluation.json").read_text()


def test_json_is_the_document_alone_on_stdout(tmp_path: Path) -> None:
    result = fake(data(tmp_path / "in"), "--out", tmp_path / "out", "--json")
    assert json.loads(result.stdout) == document(tmp_path / "out")


def test_the_same_command_again_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    arguments = (data(tmp_path / "in"), "--out", tmp_path / "out", "--sample", "20", "--seed", "3")
    assert fake(*arguments).exit_code == 0
    first, answers = document(tmp_path / "out"), (tmp_path / "out" / "answers.jsonl").read_bytes()
    assert first["rows"] == 20
    assert fake(*arguments).exit_code == 0
    assert document(tmp_path / "out") == first
    assert (tmp_path / "out" / "answers.jsonl").read_bytes().strip() == answers.strip()


def test_scores_never_stand_beside_the_document_of_an_earlier_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (data(tmp_path / "in"), "--out", tmp_path / "out")
    assert fake(*arguments).exit_code == 0
    assert document(tmp_path / "out")["judged"]["training_rows"] == 10

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sluicegate.engines.adapt.evaluate.report.draw", full)
    assert "cannot be written to" in str(fake(*arguments).exception)
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_a_killed_evaluation_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    rows, out = data(tmp_path / "in"), tmp_path / "out"
    # Slow enough to be caught at it: one prompt a call, two calls side by side.
    profile = tmp_path / "profile.json"
    profile.write_text('{"call_overhead_s": 0.1, "saturating_prompts": 1}')
    (tmp_path / "settings.yaml").write_text(f"engine: {{backend: fake, fake_profile: {profile}}}")
    command = [
        "adapt",
        "evaluate",
        str(rows),
        "--out",
        str(out),
        "--settings",
        str(tmp_path / "settings.yaml"),
    ]
    process = subprocess.Popen([sys.executable, "-m", "sluicegate", *command], stderr=subprocess.DEVNULL)
    answers = out / "answers.jsonl"
    while process.poll() is None and not (answers.exists() and len(answers.read_bytes().splitlines()) >= 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "evaluation.json").exists()
    kept = len([line for line in answers.read_bytes().splitlines() if line.endswith(b"]")])
    assert 5 <= kept < 41
    profile.write_text('{"saturating_prompts": 1}')
    assert run(*command[2:]).exit_code == 0
    assert run(*command[2:3], "--out", tmp_path / "whole", *command[5:]).exit_code == 0
    assert (out / "scores.jsonl").read_bytes() == (tmp_path / "whole" / "scores.jsonl").read_bytes()
    assert document(out) == document(tmp_path / "whole")
    assert len([line for line in answers.read_bytes().splitlines() if line.strip()]) == 41


def test_rows_that_timed_out_say_so_and_the_same_command_fills_them(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"call_overhead_s": 30}))
    settings = f"engine: {{backend: fake, fake_profile: {profile}, score_timeout_s: %s}}"
    (tmp_path / "settings.yaml").write_text(settings % 0.005)  # six tries for each row, each twice as long
    rows = data(tmp_path / "in")
    command: list[str | Path] = ["--out", tmp_path / "out", "--settings", tmp_path / "settings.yaml"]
    result = run(rows, *command)
    assert result.exit_code == 0, result.output
    assert (
        "failed: timed_out 41; run the same command again: it asks for these rows alone; "
        "if they time out again, raise SLUICEGATE_ENGINE__SCORE_TIMEOUT_S\n"
    ) in result.stdout
    profile.write_text("{}")
    (tmp_path / "settings.yaml").write_text(settings % 10)
    result = run(rows, *command)
    assert "41 judged, 0 failed" in result.stdout
    assert "failed:" not in result.stdout


def test_a_failing_row_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"garble": {"marker": "marzipan"}}))
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"faults_file": str(faults)}))
    (tmp_path / "settings.yaml").write_text(f"engine: {{backend: fake, fake_profile: {profile}}}")
    result = run(data(tmp_path / "in"), "--out", tmp_path / "out", "--settings", tmp_path / "settings.yaml")
    assert result.exit_code == 0, result.output
    assert document(tmp_path / "out")["failed"] == {"unparsable": 1}
    assert "41 rows by fake, adapter None, backend fake: 40 judged, 1 failed" in result.stdout
    assert (
        "\nfailed: unparsable 1; run the same command again: it asks for these rows alone\n" in result.stdout
    )
    assert [one["id"] for one in read_lines(tmp_path / "out" / "scores.jsonl") if "failure" in one] == [
        "worst"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--calibrated"], "the engine has no calibration"),
        (["--split", "train", "--adapter", "loans"], "engine.adapters.loans: no such adapter"),
        (["--split", "Held-out"], "no row of the split held-out is left"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = fake(data(tmp_path / "in"), "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert said in str(result.exception)


def test_a_missing_file_a_missing_recipe_and_a_missing_library_are_one_sentence_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fake(tmp_path / "nowhere.jsonl", "--out", tmp_path / "out")
    assert isinstance(result.exception, PrepareError)
    monkeypatch.setattr("sluicegate.engines.adapt.train.run.require_libraries", lambda: None)
    result = run(data(tmp_path / "in"), "--out", tmp_path / "out", "--checkpoint", tmp_path / "adapter")
    assert isinstance(result.exception, EvaluationError)
    assert "holds no recipe; name that of the training with --recipe" in str(result.exception)
    monkeypatch.setattr(adapt_evaluate, "_LIBRARIES", ("numpy", "no_such_library"))
    result = fake(data(tmp_path / "in"), "--out", tmp_path / "out")
    assert str(result.exception) == "no_such_library is missing: pip install 'sluicegate[evaluate]'"


def test_a_checkpoint_is_judged_alone(tmp_path: Path) -> None:
    result = fake(data(tmp_path / "in"), "--out", tmp_path / "out", "--checkpoint", tmp_path)
    assert result.exit_code == 2
    assert "give --checkpoint, or" in result.stderr


def test_a_folder_in_use_and_a_folder_that_cannot_be_are_refused(tmp_path: Path) -> None:
    rows = data(tmp_path / "in")
    with door._only_one(tmp_path / "out"):
        result = fake(rows, "--out", tmp_path / "out")
    assert "is in use by another evaluation" in str(result.exception)
    result = fake(rows, "--out", rows / "below")
    assert "cannot be written to" in str(result.exception)
