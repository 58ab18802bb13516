from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.recipe import ALL_LINEAR, TrainingRecipe

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = "base: {bundle: cpu}\nlora: {preset: strong}\ndata: {planned_rows: 33}\n"


def load(folder: Path, text: str) -> TrainingRecipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return TrainingRecipe.load(path)


def test_a_preset_fills_in_what_the_recipe_leaves_open(tmp_path: Path) -> None:
    strong = load(tmp_path, SMALLEST).lora
    assert (strong.r, strong.alpha, strong.targets) == (16, 32, ALL_LINEAR)
    small = load(tmp_path, SMALLEST.replace("strong}", "small, r: 4}")).lora
    assert (small.r, small.alpha, small.targets) == (4, 16, ("q_proj", "v_proj"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- 1", "recipe"),
        ("a: [", "is not YAML (line 1)"),
        (SMALLEST + "colour: red", "colour"),
        (SMALLEST.replace("bundle: cpu", "bundle: cpu, checkpoint: x"), "base"),
        (SMALLEST.replace("bundle: cpu", "checkpoint: x"), "base"),
        (SMALLEST.replace("preset: strong", "r: 8"), "lora.alpha"),
        (SMALLEST.replace("strong", "huge"), "lora"),
        (SMALLEST.replace("33", "0"), "data.planned_rows"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(TrainingError) as caught:
        load(tmp_path, text)
    assert place in str(caught.value)


def test_a_recipe_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="check the name"):
        TrainingRecipe.load(tmp_path / "none.yaml")


def test_a_recipe_is_not_read_in_part(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="larger than"):
        load(tmp_path, SMALLEST + "#" * (1 << 20))


def test_the_digest_changes_with_a_value_and_not_with_a_default_spelled_out(tmp_path: Path) -> None:
    plain = load(tmp_path, SMALLEST)
    assert plain.digest == load(tmp_path, SMALLEST + "seed: 1\n").digest
    assert plain.digest != load(tmp_path, SMALLEST + "seed: 2\n").digest
