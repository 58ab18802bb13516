"""The 8B guard in docs/adapt.md against the recipe it shows and its own arithmetic. Nothing is trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docs.pages import text
from sluicegate.engines.adapt.train.recipe import ALL_LINEAR, TrainingRecipe
from sluicegate.engines.backends.gpu import RATES
from sluicegate.engines.build.shape import QWEN3GUARD_8B as MODEL
from sluicegate.engines.build.sizing import Demand

ROOT = Path(__file__).parents[2]
PAGE = text("adapt").partition("## Adapt the 8B guard")[2]
RECIPE = TrainingRecipe.load(ROOT / "examples" / "adapt" / "8b.yaml")


def cell(name: str) -> str:
    (found,) = re.findall(rf"^\| {re.escape(name)} \| ([^|]+) \|", PAGE, re.MULTILINE)
    return str(found)


def linear_modules() -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each."""
    heads, kv = MODEL.heads * MODEL.head_dim, MODEL.kv_heads * MODEL.head_dim
    hidden, ffn = MODEL.hidden, MODEL.ffn
    sizes = [
        (hidden, heads),
        (hidden, kv),
        (hidden, kv),
        (heads, hidden),
        (hidden, ffn),
        (hidden, ffn),
        (ffn, hidden),
    ]
    return dict(zip(ALL_LINEAR, sizes, strict=True))


def adapter_parameters(recipe: TrainingRecipe) -> int:
    modules = linear_modules()
    return MODEL.layers * recipe.lora.r * sum(sum(modules[name]) for name in recipe.lora.targets)


def test_the_page_shows_the_recipe_of_the_examples() -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert TrainingRecipe.model_validate(yaml.safe_load(shown)) == RECIPE
    assert (RECIPE.precision, RECIPE.recompute, RECIPE.base.layout) == ("bf16", True, "vendor")


def test_the_sizes_follow_from_the_models_configuration() -> None:
    parameters = adapter_parameters(RECIPE)
    assert cell("adapter `strong`") == f"{parameters:,} parameters"
    assert f"{parameters / MODEL.parameters:.2%}".replace("%", " %") in PAGE
    assert cell("adapter's file") == f"{2 * parameters / 1e6:.0f} MB"
    assert cell("base, BF16") == cell("merged checkpoint") == f"{MODEL.weight_bytes('bf16') / 1e9:.1f} GB"
    assert cell("engine, FP8") == f"{MODEL.weight_bytes('fp8') / 1e9:.1f} GB"


def test_the_memory_adds_up() -> None:
    kept = RECIPE.optimiser.micro_tokens * MODEL.hidden * 2 * MODEL.layers / 1e9
    assert (
        cell("adapter, its gradients, two moments of AdamW") == f"{16 * adapter_parameters(RECIPE) / 1e9:.1f}"
    )
    assert cell("activations kept between layers") == f"{kept:.1f}"
    parts = [
        cell("base"),
        cell("adapter, its gradients, two moments of AdamW"),
        cell("activations kept between layers"),
    ]
    parts += [cell("one layer, computed again"), cell("CUDA's own")]
    assert cell("**together**") == f"**{sum(map(float, parts)):.1f}**"


@pytest.mark.parametrize("card", ["H100", "A100", "L40S"])
def test_the_hours_follow_from_the_operations(card: str) -> None:
    tokens = (Demand("H100", 60).static_tokens + 60 + 12) * 1.15
    measured = (RECIPE.data.planned_rows // RECIPE.dev.every_rows + 1) * RECIPE.dev.rows
    operations = MODEL.linear_parameters * tokens * (6 * RECIPE.data.planned_rows + 2 * measured)
    hours = operations / (RATES[card].bf16_tflops * 1e12 * 0.35) / 3600  # type: ignore[index]
    assert cell(card) == f"{hours:.1f}"
