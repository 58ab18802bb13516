"""``sluicegate adapt calibrate``: files out, and what a worker then makes of scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.errors import CalibrationError
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.calibration import Calibration
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import calibrate as adapt_calibrate
from support.scored_rows import labelled_rows, scored, write_evaluation
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", "calibrate", *map(str, arguments)])


@pytest.fixture(scope="module")
def rows() -> Any:
    return scored(labelled_rows(400, languages=("en", "zh")), seed=1, sureness=3)


def test_an_evaluation_becomes_a_calibration_a_report_and_a_bundle(tmp_path: Path, rows: Any) -> None:
    old = Bundle.open(write_small_bundle(tmp_path / "bundle"))
    evaluation = write_evaluation(tmp_path / "evaluation", rows, digest=old.digest.removeprefix("sha256:"))
    out = tmp_path / "made" / "calibration.json"
    result = run(
        evaluation, "--out", out, "--target-fpr", "0.05", "--cost", "4",
        "--bundle", old.path, "--bundle-out", tmp_path / "new",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.parent.iterdir()} == {
        "calibration.json",
        "calibration.md",
        "calibration.png",
    }
    calibration = Calibration.parse(out.read_bytes())
    assert set(calibration.thresholds) == {"risk_fpr_5", "unsafe_fpr_5", "risk_cost_4", "unsafe_cost_4"}
    assert "400 rows, 0 more failed" in result.stdout
    assert (
        f"risk_fpr_5: {calibration.thresholds['risk_fpr_5'].value:.6f}, false positives 0.0" in result.stdout
    )
    new = Bundle.open(tmp_path / "new")
    assert new.calibration == calibration
    assert f"digest {new.digest}" in result.stdout
    assert out.with_suffix(".md").read_text().startswith("# Calibration\n")


def test_json_is_the_report_alone_and_one_percent_is_the_default(tmp_path: Path, rows: Any) -> None:
    evaluation = write_evaluation(tmp_path / "evaluation", rows)
    result = run(evaluation, "--out", tmp_path / "c.json", "--language-group", "en, ZH", "--json")
    document = json.loads(result.stdout)
    assert document["thresholds"].keys() == {"risk_fpr_1", "unsafe_fpr_1"}
    assert document["held_out"]["ece"]["value"] < document["before"]["ece"]["value"]
    assert [one["languages"] for one in document["groups"]] == [[]]  # both are all of the kind: one group


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "calibration.md"], "--out is a JSON file"),
        (["--out", "c.json", "--bundle", "b"], "give both of --bundle and --bundle-out"),
        (["--out", "c.json", "--language-group", "zh-Hant"], "without script or region"),
        (["--out", "c.json", "--language-group", "zh,ja", "--language-group", "ja"], "name it once"),
        (["--out", "c.json", *(f"--cost={at}" for at in range(1, 18))], "at most 16 together"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_a_missing_evaluation_a_missing_library_and_a_place_that_cannot_be_are_one_sentence_each(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(tmp_path / "nowhere", "--out", tmp_path / "c.json")
    assert "name a folder that sluicegate adapt evaluate wrote" in str(result.exception)
    evaluation = write_evaluation(tmp_path / "evaluation", rows)
    result = run(evaluation, "--out", evaluation / "scores.jsonl" / "c.json")
    assert isinstance(result.exception, CalibrationError)
    assert "cannot be written" in str(result.exception)
    monkeypatch.setattr(adapt_calibrate, "_LIBRARIES", ("numpy", "no_such_library"))
    result = run(evaluation, "--out", tmp_path / "c.json")
    assert str(result.exception) == "no_such_library is missing: pip install 'sluicegate[evaluate]'"
