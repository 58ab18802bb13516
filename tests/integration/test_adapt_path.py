"""From three hundred labelled rows to a bundle that a worker judges with: every step by its own command."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import ExportError
from sluicegate.pipeline.command import app
from sluicegate.schemas import Verdict

pytestmark = [
    pytest.mark.adapt,
    pytest.mark.cpu_model,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default::FutureWarning", "default::UserWarning"),
]

ROWS = 300
OWN = Path(__file__).parents[2] / "examples" / "adapt" / "rows"
RECIPE = """
base: {bundle: cpu}
lora: {preset: small}
data: {planned_rows: 128, max_tokens: 64}
optimiser: {learning_rate: 2.0e-3, batch_rows: 8}
dev: {rows: 12, every_rows: 64}
"""
LENIENT = """
overall: {minimum_rows: 1, macro_f1_drop: 1.0, harmful_recall_drop: 1.0, benign_false_positives_rise: 1.0, benign_blocked_rise: 1.0}
language: {minimum_rows: 1000}
category: {minimum_rows: 1000}
kind: {minimum_rows: 1000}
source: {minimum_rows: 1000}
always: {well_formed_least: null}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def adapt(*arguments: str | Path) -> Result:
    result = run("adapt", *arguments)
    assert result.exit_code == 0, result.output
    return result


def some_rows(target: Path) -> Path:
    lines = [line for path in sorted(OWN.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    step = len(lines) / ROWS
    target.write_bytes(b"\n".join(lines[int(at * step)] for at in range(ROWS)) + b"\n")
    return target


@pytest.mark.timeout(600)
def test_three_hundred_rows_become_a_bundle_that_judges(
    tmp_path: Path, cpu_base_bundle: Path, cpu_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    adapt("prepare", some_rows(tmp_path / "rows.jsonl"), "--out", "prepared", "--dev-share", "0.25")
    Path("recipe.yaml").write_text(RECIPE)
    adapt("train", "recipe.yaml", "--data", "prepared", "--out", "loans", "--threads", "1")
    best = Path("loans/best")
    adapt("export", best, "--to", "llama_cpp", "--draft", "--out", "draft")
    judged = ("evaluate", "prepared", "--split", "dev", "--sample", "56", "--engine", "llama_cpp")
    adapt(*judged, "--bundle", "draft", "--out", "new")
    adapt(*judged, "--bundle", cpu_bundle, "--out", "current")
    adapt("calibrate", "new", "--out", "calibration.json", "--minimum-rows", "20")
    assert isinstance(run("adapt", "export", best, "--to", "llama_cpp", "--out", "b").exception, ExportError)
    compared = ("gate", "--new", "new", "--current", "current")
    Path("limits.yaml").write_text(LENIENT.replace("null}", "null, macro_f1_least: 1.0}"))
    assert run("adapt", *compared, "--limits", "limits.yaml", "--out", "refused.json").exit_code == 1
    refused = run("adapt", "export", best, "--to", "llama_cpp", "--gate", "refused.json", "--out", "b")
    assert "did not pass" in str(refused.exception)
    Path("limits.yaml").write_text(LENIENT)
    adapt(*compared, "--limits", "limits.yaml", "--out", "gate.json")
    given = ("--gate", "gate.json", "--evaluation", "new", "--calibration", "calibration.json")
    adapt("export", best, "--to", "llama_cpp", *given, "--out", "bundle")

    bundle = Bundle.open(Path("bundle"))
    assert bundle.manifest.adapter is not None
    assert bundle.manifest.adapter.name == "loans"
    assert bundle.calibration is not None
    assert 0 < bundle.manifest.evaluation["macro_f1"] < 1
    Path("settings.yaml").write_text("engine: {backend: llama_cpp, bundle: bundle, slots: 1}\n")
    found = run("judge", "I know where you live.", "--settings", "settings.yaml", "--json")
    assert found.exit_code == 0, found.output
    verdict = Verdict.model_validate_json(found.stdout)
    assert (verdict.engine.adapter, verdict.engine.digest) == ("loans", bundle.digest)
    assert verdict.scores is not None
    assert sum(verdict.scores.model_dump().values()) == pytest.approx(1, abs=1e-6)
    _agrees(best, Path("bundle"))


def _agrees(adapter: Path, bundle: Path) -> None:
    """The bundle says what base and adapter say in torch."""
    from agreement.study import compare, rows  # noqa: PLC0415 - of the stand-in

    posts = rows([Path("prepared/dev.jsonl")], 16)
    found = compare(adapter, bundle, posts)
    assert found.texts == len(posts)
    # So few steps leave the three labels close together, where llama.cpp's 8-bit arithmetic moves scores most: after six,
    # 0.08 at most and 0.04 on average were seen. A trained adapter is held to less by benchmarks/agreement.
    assert found.unsafe_max < 0.2
    assert found.unsafe_mean < 0.1


def test_the_sample_of_rows_is_as_large_as_is_said(tmp_path: Path) -> None:
    lines = some_rows(tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert len({orjson.loads(line)["text"] for line in lines}) == ROWS
