"""Leave one source out: the arithmetic of its report, and what is skipped because it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from baselines import Baseline
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows
from sluicegate.engines.adapt.evaluate.scored import write_scores
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from studies.transfer import report as transfer_report
from studies.transfer import study as transfer
from support.labelled import row, sentence, write_lines
from support.scored import drawn, scored, sure, weights_of

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow
    from sluicegate.schemas import Severity


def value(name: str, rows: list[ScoredRow]) -> float:
    return float(MEASURES[name](MeasuredRows.of(rows), weights_of(rows))[0])


def swapped(rows: list[ScoredRow]) -> list[ScoredRow]:
    """The same labels with the probabilities of the next row: much worse."""
    threes = [one.probabilities for one in rows]
    return [
        scored(one.id, one.severity, three) for one, three in zip(rows, [*threes[1:], threes[0]], strict=True)
    ]


def test_a_distance_is_the_difference_of_the_measures_and_is_positive_where_ours_is_better() -> None:
    ours = drawn(200, seed=1)
    others = swapped(ours)
    for name in transfer_report.SHOWN:
        found = transfer_report.distance(ours, others, name, seed=0)
        assert found is not None
        assert found["value"] == pytest.approx(value(name, ours) - value(name, others), abs=1e-5)
        assert 0 < found["low"] < found["value"] < found["high"]
        back = transfer_report.distance(others, ours, name, seed=0)
        assert back is not None
        assert back["value"] == -found["value"]


def test_equal_systems_are_no_distance_apart_in_any_draw() -> None:
    rows = drawn(60, seed=2)
    assert transfer_report.distance(rows, list(reversed(rows)), "macro_f1", seed=0) == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0,
    }


def test_a_row_that_either_failed_on_counts_for_neither() -> None:
    ours, others = drawn(40, seed=3), swapped(drawn(40, seed=3))
    expected = transfer_report.distance(ours[2:], others[2:], "macro_f1", seed=0)
    failed = [
        [scored(one.id, one.severity, None) if one.id == name else one for one in rows]
        for name, rows in (("r0", ours), ("r1", others))
    ]
    assert transfer_report.distance(failed[0], failed[1], "macro_f1", seed=0) == expected
    assert transfer_report.distance(ours[:1], others[1:2], "macro_f1", seed=0) is None


def test_a_measure_that_is_not_defined_has_no_distance() -> None:
    rows = [scored("a", "safe", sure("safe")), scored("b", "safe", sure("unsafe"))]
    assert transfer_report.distance(rows, rows, "auroc_safe", seed=0) is None


def result(source: str, *, apart: float | None, width: float = 0.05) -> dict[str, Any]:
    def of(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - width, "high": middle + width}

    found: dict[str, Any] = {
        "source": source,
        "left_out_with": ["other"] if source == "above" else [],
        "languages": ["en"],
        "kinds": ["post"],
        "dev_rows": 1200,
        "systems": {"baseline_same_rows": {"auroc_safe": of(0.7)}, "baseline_all_rows": {"macro_f1": of(0.4)}},
    }  # fmt: skip
    if apart is not None:
        found["systems"]["adapter"] = {"auroc_safe": of(0.7 + apart), "macro_f1": of(0.4)}
        one = {"auroc_safe": of(apart), "macro_f1": None}
        found["adapter_minus"] = {"baseline_same_rows": one, "baseline_all_rows": one}
    return found


def test_the_page_has_a_line_for_each_source_and_counts_where_the_adapter_is_higher() -> None:
    sources = [result("far_above", apart=0.2), result("above", apart=0.01), result("below", apart=-0.1), result("begun", apart=None)]  # fmt: skip
    page = transfer_report.page({"planned_rows": 1500, "max_tokens": 128, "sources": sources})
    assert "The folds: far_above; above, other; below; begun." in page
    auroc, _, macro = page.partition("## Macro-F1")
    assert "| far_above | en | post | 1,200 | 0.900 [0.850, 0.950] | 0.700 [0.650, 0.750] | – | +0.200 [+0.150, +0.250] |" in auroc  # fmt: skip
    assert "| begun | en | post | 1,200 | – | 0.700 [0.650, 0.750] | – | – |" in auroc
    same = "baseline, same rows on 2 of 3 (on 1 the interval lies above zero, on 1 below)"
    assert f"AUROC of the adapter is higher than the {same}" in auroc
    assert "on 0 of 0" in macro


def wanted(folder: Path, **changed: Any) -> transfer.Wanted:
    fields: dict[str, Any] = {
        "data": folder / "data", "work": folder / "work", "trainer": None, "planned_rows": 40,
        "dev_rows": 10, "max_tokens": 64, "base": "cpu", "seed": 0,
    }  # fmt: skip
    return transfer.Wanted(**{**fields, **changed})


def begun(folder: Path) -> transfer.Fold:
    """Two sources whose others are prepared."""
    for name in ("one", "two"):
        rows = [row(id=f"{name}:{at}", source=name, text=sentence(at), severity=("safe", "unsafe")[at % 2], split="dev") for at in range(30)]  # fmt: skip
        write_lines(folder / "data" / f"{name}.jsonl", rows)
    fold = transfer.Fold(("one", "two"), wanted(folder))
    fold.prepared.mkdir(parents=True)
    (fold.prepared / "reasons.json").write_text("{}")
    return fold


def test_a_recipe_is_one_and_measures_nothing_on_the_way(tmp_path: Path) -> None:
    recipe = TrainingRecipe.model_validate(wanted(tmp_path).recipe())
    assert (recipe.data.planned_rows, recipe.data.max_tokens, recipe.dev.rows) == (40, 64, 0)


def test_what_judged_is_compared_source_by_source_on_the_rows_that_were_drawn(tmp_path: Path) -> None:
    fold = begun(tmp_path)
    assert [one["systems"] for one in fold.results()] == [{}, {}]
    held_out = [json.loads(one)["id"] for one in (fold.folder / "held-out.jsonl").read_text().splitlines()]
    assert len(held_out) == 20
    labels: dict[str, Severity] = {
        f"{name}:{at}": ("safe", "unsafe")[at % 2] for name in ("one", "two") for at in range(30)
    }
    right = [scored(one, labels[one], sure(labels[one])) for one in held_out]
    half = [scored(one, labels[one], sure(labels[one] if one.startswith("two") else "safe", 0.5)) for one in held_out]  # fmt: skip
    write_scores(fold.trained / "adapter-20", right)
    write_scores(fold.trained / "baseline_same_rows-20", half)
    write_scores(fold.folder / "baseline_all_rows-20", right)
    one, two = fold.results()
    assert one["systems"]["adapter"]["auroc_safe"]["value"] == 1.0
    assert one["adapter_minus"]["baseline_same_rows"]["auroc_safe"]["value"] == 0.5
    assert two["adapter_minus"]["baseline_same_rows"]["auroc_safe"]["value"] == 0.0
    assert one["adapter_minus"]["baseline_all_rows"]["auroc_safe"]["value"] == 0.0
    assert sum(one["severities"].values()) == one["dev_rows"] == 10
    assert (one["source"], one["left_out_with"], two["left_out_with"]) == ("one", ["two"], ["one"])


def test_what_has_scores_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = begun(tmp_path)
    out = tmp_path / "scores"
    write_scores(out, [scored("a", "safe", sure("safe"))])
    monkeypatch.setattr(Baseline, "fit", None)
    fold._baseline("baseline_all_rows", out, [], [])


def test_another_plan_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = {
        transfer.Fold(["one"], wanted(tmp_path, **changed)).trained
        for changed in ({}, {"planned_rows": 41}, {"max_tokens": 65})
    }
    assert len(folders) == 3


def test_a_report_holds_what_is_done_so_far_and_no_path(tmp_path: Path) -> None:
    asked = wanted(tmp_path, base=str(tmp_path / "bundle"))
    folds = [transfer.Fold(["one"], asked), transfer.Fold(["two", "three"], asked)]
    folds[1].folder.mkdir(parents=True)
    kept = [result("two", apart=0.1), result("three", apart=-0.1)]
    (folds[1].folder / "40-results.json").write_text(json.dumps(kept))
    transfer.report(asked, folds, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [one["source"] for one in document["sources"]] == ["two", "three"]
    assert str(tmp_path) not in (tmp_path / "out" / "transfer.md").read_text() + json.dumps(document)


def test_six_sources_are_left_out_each_once() -> None:
    sources = [source for fold in transfer.FOLDS for source in fold.split("+")]
    assert len(set(sources)) == len(sources) >= 6


def test_a_trainer_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        transfer.main(["--data", str(tmp_path), "--work", str(tmp_path)])
    assert "give --trainer, or --only baseline" in capsys.readouterr().err
