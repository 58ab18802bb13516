"""The spoiled adapter's benchmark: what is flipped, what is trained on, and what its report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from studies.spoiled_gate import study as benchmark
from support.scored_rows import labelled_rows, scored, spoiled, write_evaluation
from support.training import training_row, write_rows

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def wanted(tmp_path: Path) -> Any:
    severities = ("safe", "controversial", "unsafe")
    rows = [
        training_row(
            f"r{at}",
            f"text {at}" + " and more" * (50 if at % 10 == 9 else 0),
            severity=severities[at % 3],
            categories=("Violent",) if at % 3 else (),
            language=("zh", "en", "de")[at // 3 % 3],
        )
        for at in range(180)
    ]
    write_rows(tmp_path / "prepared", rows, [])
    (tmp_path / "good" / "best").mkdir(parents=True)
    told = {"base": {"bundle": "cpu"}, "lora": {"preset": "strong"}, "data": {"planned_rows": 9000}}
    plan = {"recipe": TrainingRecipe.model_validate(told).model_dump(mode="json")}
    (tmp_path / "good" / "plan.json").write_text(json.dumps(plan))
    return benchmark.Wanted(
        tmp_path / "prepared",
        tmp_path / "good" / "best",
        Path("trainer"),
        tmp_path / "work",
        "zh",
        40,
        20,
        100,
        0,
    )


def test_the_labels_of_one_language_are_flipped_and_of_no_other(
    wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(benchmark, "_run", asked.append)
    kept = {}
    for name in (benchmark.SPOILED, benchmark.CONTROL):
        assert benchmark.train(name, wanted) == wanted.work / name / "training" / "adapter"
        lines = (wanted.work / name / "prepared" / "train.jsonl").read_text().splitlines()
        kept[name] = {row["id"]: row for row in map(json.loads, lines)}
    changed = kept[benchmark.SPOILED]
    assert changed.keys() == kept[benchmark.CONTROL].keys()
    assert [row["language"] for row in changed.values()].count("zh") == 20
    assert len(changed) == 40
    for name, right in kept[benchmark.CONTROL].items():
        if right["language"] != "zh":
            assert changed[name] == right
            continue
        assert (changed[name]["severity"] == "unsafe") == (right["severity"] == "safe")
        assert changed[name]["categories"] == []
    recipe = TrainingRecipe.load(wanted.work / "spoiled" / "recipe.yaml")
    assert (recipe.start_from, recipe.data.planned_rows) == (str(wanted.adapter), 40)
    assert recipe.lora.r == 16
    assert [str(one) for one in asked[0][:3]] == ["trainer", "adapt", "train"]


def test_the_gates_word_is_what_the_report_says(wanted: Any) -> None:
    rows = labelled_rows(500, languages=("zh", "en"))
    good = scored(rows, seed=2)
    wanted.work.mkdir()
    current = write_evaluation(wanted.work / "current", scored(rows, seed=1), digest="current")
    gates = {}
    for name, found in (("control", good), ("spoiled", spoiled(good, "zh"))):
        code, document = benchmark.gate(
            name, write_evaluation(wanted.work / name, found, digest=name), current, wanted
        )
        gates[name] = benchmark.told(code, document)
        assert benchmark.names_language(gates[name], "zh") == (name == "spoiled")
    text = benchmark.page({"language": "zh", "train_rows": 40, "judged_rows": 500, "gates": gates})
    control, _, refused = text.partition("## Spoiled: refused, exit code 1")
    assert "## Control: passed, exit code 0" in control
    assert "none." in control
    assert "- macro-F1, language zh: 0." in refused
    assert "- macro-F1, language en" not in refused


def test_too_few_rows_of_the_language_and_an_old_report_are_not_passed_off(
    wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = benchmark._rows(wanted.prepared / "train.jsonl")
    with pytest.raises(SystemExit, match="short rows in zh"):
        benchmark.chosen(rows, wanted, 150)
    wanted.work.mkdir()
    (wanted.work / "gate-spoiled.json").write_text('{"passed": false}')
    monkeypatch.setattr(benchmark, "_run", lambda _command, allowed: allowed[-1])
    with pytest.raises(SystemExit, match="could not compare the two"):
        benchmark.gate("spoiled", wanted.work / "new", wanted.work / "current", wanted)
