from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from typer.testing import CliRunner

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train import run
from sluicegate.engines.adapt.train.plan import make_plan
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.pipeline.command import app
from support.training import labelled_rows, small_base, training_row, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row

TEXT = "base: {bundle: cpu}\nlora: {preset: strong}\ndata: {planned_rows: 33}\ndev: {rows: 9}\n"


def recipe(folder: Path, text: str = TEXT) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_missing_library_is_one_sentence_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LIBRARIES", ("no_such_library",))
    done = CliRunner().invoke(
        app, ["adapt", "train", str(recipe(tmp_path)), "--data", str(tmp_path), "--dry-run"]
    )
    assert isinstance(done.exception, TrainingError)
    assert str(done.exception).startswith("no_such_library is missing: pip install 'sluicegate[adapt]'")


def test_a_training_needs_a_folder_for_its_result(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["adapt", "train", str(recipe(tmp_path)), "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "--out" in done.output


def test_a_plan_leaves_one_sided_languages_out_unless_told_otherwise(tmp_path: Path) -> None:
    rows = [*labelled_rows(30), training_row("x", "x", language="sw", severity="unsafe")]
    data = write_rows(tmp_path / "data", rows, labelled_rows(18, prefix="d"))
    facts = make_plan(TrainingRecipe.load(recipe(tmp_path)), data, base=small_base()).facts()
    assert "sw" not in facts["languages"]
    assert facts["left_out"]["language with one severity only"] == 1
    assert facts["planned_rows"] == 33
    kept = TrainingRecipe.load(
        recipe(tmp_path, TEXT.replace("33", "33, one_sided_languages: keep, balance: 1"))
    )
    assert "sw" in make_plan(kept, data, base=small_base()).facts()["languages"]


def test_rows_of_dev_never_train(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", labelled_rows(30), labelled_rows(18, prefix="d"))
    plan = make_plan(TrainingRecipe.load(recipe(tmp_path)), data, base=small_base())
    assert {example.row_id[0] for example in plan.train} == {"r"}
    assert {example.row_id[0] for example in plan.dev} == {"d"}
    assert len(plan.dev) == 9


def test_another_recipe_or_other_data_are_another_plan(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", labelled_rows(30), labelled_rows(18, prefix="d"))
    wanted = TrainingRecipe.load(recipe(tmp_path))
    first = make_plan(wanted, data, base=small_base())
    assert make_plan(wanted, data, base=small_base()).digest == first.digest
    other = TrainingRecipe.load(recipe(tmp_path, TEXT + "seed: 7\n"))
    assert make_plan(other, data, base=small_base()).digest != first.digest
    write_rows(data, labelled_rows(31)[1:], labelled_rows(18, prefix="d"))
    assert make_plan(wanted, data, base=small_base()).digest != first.digest


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (labelled_rows(1), labelled_rows(9, prefix="d"), "one severity only"),
        (labelled_rows(30), [], "set dev.rows to 0"),
    ],
)
def test_data_that_leave_nothing_are_refused(
    tmp_path: Path, train: list[Row], dev: list[Row], message: str
) -> None:
    data = write_rows(tmp_path / "data", train, dev)
    with pytest.raises(TrainingError, match=message):
        make_plan(TrainingRecipe.load(recipe(tmp_path)), data, base=small_base())


def test_a_folder_belongs_to_one_plan_and_one_process(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", labelled_rows(30), labelled_rows(18, prefix="d"))
    plan = make_plan(TrainingRecipe.load(recipe(tmp_path)), data, base=small_base())
    with run._only_one(tmp_path / "out"):
        run._claim(tmp_path / "out", plan)
        with (
            pytest.raises(TrainingError, match="in use by another training"),
            run._only_one(tmp_path / "out"),
        ):
            pass
    assert orjson.loads((tmp_path / "out" / "plan.json").read_bytes())["digest"] == plan.digest
    run._claim(tmp_path / "out", plan)
    other = make_plan(TrainingRecipe.load(recipe(tmp_path, TEXT + "seed: 7\n")), data, base=small_base())
    with pytest.raises(TrainingError, match="another recipe, base or data"):
        run._claim(tmp_path / "out", other)
