from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from sluicegate.engines.adapt.train.recipe import PRESETS, TrainingRecipe

PAGE = (Path(__file__).parents[5] / "docs" / "adapt-training.md").read_text(encoding="utf-8")


def fields(model: type[BaseModel], before: str = "") -> set[str]:
    """Names of a model's fields, those of its parts after a point."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            found |= fields(part, f"{name}.")
        else:
            found.add(before + name)
    return found


def test_every_recipe_of_the_page_is_in_order(tmp_path: Path) -> None:
    texts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        TrainingRecipe.load(tmp_path / "recipe.yaml")


def test_the_page_names_every_field_of_a_recipe_and_no_other() -> None:
    named: set[str] = set()
    for line in re.findall(
        r"^\| (`[a-z].*?) \| [^|]*\| ", PAGE.partition("## What is learnt")[0], re.MULTILINE
    ):
        whole = ""
        for name in re.findall(r"`([^`]+)`", line):
            whole = name if not name.startswith(".") else whole.partition(".")[0] + name
            named.add(whole)
    assert named == fields(TrainingRecipe)


def test_the_page_says_what_the_presets_are() -> None:
    for name, preset in PRESETS.items():
        assert f"`{name}`: r {preset['r']}, alpha {preset['alpha']:g}" in PAGE
