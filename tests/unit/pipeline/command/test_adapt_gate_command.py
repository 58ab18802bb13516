"""``sluicegate adapt gate``: an exit code that a release may hang on, and files that say why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.errors import GateError
from sluicegate.engines.adapt.gate import report
from sluicegate.engines.bundle import Calibration
from sluicegate.engines.bundle.calibration import Temperature
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import gate as adapt_gate
from sluicegate.pipeline.policy import Policy
from support.labelled import read_lines
from support.scored import scored as one_row
from support.scored_rows import labelled_rows, scored, spoiled, write_evaluation

if TYPE_CHECKING:
    from pathlib import Path

ROWS = labelled_rows(700, languages=("en", "zh", "de"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", "gate", *map(str, arguments)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("evaluations")
    good = scored(ROWS, seed=2)
    sides = {"current": scored(ROWS, seed=1), "good": good, "spoiled": spoiled(good, "zh")}
    return {name: write_evaluation(root / name, rows, digest=name) for name, rows in sides.items()}


def test_a_spoiled_model_is_refused_with_exit_code_1_and_the_language_named(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    out, flips = tmp_path / "gates" / "gate.json", tmp_path / "flips.jsonl"
    result = run("--new", folders["spoiled"], "--current", folders["current"], "--out", out, "--flips", flips)
    assert result.exit_code == 1
    refused = result.stdout.partition("refused: ")[2]
    assert "macro-F1, language zh: 0." in refused
    assert "language de" not in refused
    document = orjson.loads(out.read_bytes())
    assert document["passed"] is False
    assert {one["group"] for one in document["regressions"] if one["by"] == "language"} == {"zh"}
    assert out.with_suffix(".md").read_text().startswith("# Gate: refused\n")
    flipped = read_lines(flips)
    assert {one["id"] for one in flipped if one["language"] == "zh"} > set()
    changed = sum(one["rows"] for one in document["flips"]["severities"].values())
    assert sum(one["found"][0] != one["found"][1] for one in flipped) == changed
    assert all(set(one["action"]) <= {"allow", "review", "block"} for one in flipped)


def test_an_equally_good_model_passes_with_exit_code_0(folders: dict[str, Path]) -> None:
    result = run("--new", folders["good"], "--current", folders["current"])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("passed\n")


def test_limits_and_a_policy_of_ones_own_decide(tmp_path: Path, folders: dict[str, Path]) -> None:
    limits, policy = tmp_path / "limits.yaml", tmp_path / "policy.yaml"
    limits.write_text("always: {macro_f1_least: 0.99}\n")
    policy.write_text("name: mine\nversion: '7'\nrules: {block_at: {unsafe: 0.01}}\n")
    result = run(
        "--new", folders["good"], "--current", folders["current"],
        "--limits", limits, "--policy", policy, "--json",
    )  # fmt: skip
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [one["what"] for one in document["regressions"]] == ["macro_f1_least"]
    assert document["policy"] == {"name": "mine", "version": "7", "digest": Policy.load(policy).digest}
    rate = next(one for one in document["checks"] if one["what"] == "block_rate")
    assert rate["new"] > 0.6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("overal: {}\n", "limits.yaml:1: overal: is unknown here"),
        (
            "overall:\n  macro_f1_drop: 2\n",
            "limits.yaml:2: overall.macro_f1_drop: cannot be used; write a number",
        ),
        (
            "language:\n  minimum_rows: 0\n",
            "limits.yaml:2: language.minimum_rows: cannot be used; write a whole",
        ),
        ("overall: 3\n", "limits.yaml:1: overall: is no mapping"),
        ("overall: {\n", "limits.yaml:"),
    ],
)
def test_a_faulty_limit_is_named_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(GateError) as caught:
        adapt_gate.read_limits(path)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_and_a_missing_library_are_one_sentence_each(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limits.yaml").write_bytes(b"\xff")
    for path, said in ((tmp_path / "nowhere.yaml", "check the name"), (tmp_path / "limits.yaml", "no UTF-8")):
        with pytest.raises(GateError, match=said):
            adapt_gate.read_limits(path)
    sides: tuple[Any, ...] = ("--new", folders["good"], "--current", folders["current"])
    result = run(*sides, "--out", tmp_path / "limits.yaml" / "gate.json")
    assert "cannot be written" in str(result.exception)
    assert run(*sides, "--out", tmp_path / "gate.md").exit_code == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert str(run(*sides).exception) == "numpy is missing: pip install 'sluicegate[evaluate]'"


def test_actions_are_the_policys_and_its_failure_mode_without_scores() -> None:
    act = adapt_gate.actions(Policy.load(None))
    assert act(one_row("a", "safe", (0.0, 0.0, 1.0))) == "block"
    assert act(one_row("b", "safe", (0.2, 0.3, 0.5))) == "review"
    assert act(one_row("c", "unsafe", (1.0, 0.0, 0.0))) == "allow"
    assert act(one_row("d", "safe", None)) == "review"


def test_calibrations_are_applied_to_what_stands_there_before_actions_are_compared(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    data = f"sha256:{'0' * 64}"
    calibrations = {}
    for name, temperature in (("new", 20), ("current", 1)):
        calibrations[name] = tmp_path / f"{name}.json"
        fitted = Calibration(data=data, fallback=Temperature(temperature=temperature))
        calibrations[name].write_bytes(fitted.content())
    sides: tuple[Any, ...] = ("--new", folders["good"], "--current", folders["current"], "--json")
    given: tuple[Any, ...] = ("--new-calibration", calibrations["new"])
    both = (*given, "--current-calibration", calibrations["current"])
    raw, flat, served = (json.loads(run(*sides, *some).stdout) for some in ((), given, both))
    assert [raw[name]["calibrated"] for name in ("new", "current")] == [False, False]
    assert [served[name]["calibrated"] for name in ("new", "current")] == [True, True]
    assert served["actions"]["current"] == raw["actions"]["current"]
    assert served["actions"]["new"] == flat["actions"]["new"]
    assert served["actions"]["new"].get("block", 0) < raw["actions"]["new"]["block"], (
        "20 is hardly sure of anything"
    )
    assert sum(served["actions"]["new"].values()) == len(ROWS)
    assert served["policy"]["digest"] in report.page(served)
    assert "| new | calibrated |" in report.page(served)
    calibrated = write_evaluation(
        tmp_path / "e", scored(ROWS, seed=3), terms={"hints": False, "calibrated": True}
    )
    refused = run("--new", calibrated, "--current", folders["current"], *given)
    assert "calibrated scores already" in str(refused.exception)
