"""A GGUF's weights are dequantised in the first sitting and read as they are in the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.adapt.train.base import OpenedBase
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from support.small_bundle import small_tokenizer
from support.small_gguf import write_small_gguf
from support.training import small_base

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.adapt,
    pytest.mark.filterwarnings("default::FutureWarning", "default::UserWarning"),
]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("precision", ["float32", "bf16_autocast"])
def test_kept_weights_say_the_same_and_the_gguf_is_not_read_again(
    tmp_path: Path, architecture: str, precision: str
) -> None:
    import torch  # noqa: PLC0415 - gigabytes

    from sluicegate.engines.adapt.train.model import load_base  # noqa: PLC0415 - loads torch

    write_small_gguf(tmp_path / "model.gguf", architecture=architecture)
    plain = small_base()
    base = OpenedBase(
        "small", tmp_path, "model.gguf", small_tokenizer(), plain.layout, plain.labels, plain.end_id
    )
    recipe = TrainingRecipe.model_validate(
        {
            "base": {"bundle": "cpu"},
            "lora": {"preset": "small"},
            "data": {"planned_rows": 1},
            "precision": precision,
        }
    )

    def logits(model: Any) -> Any:
        ids = torch.arange(24).reshape(2, 12)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            return model.eval()(input_ids=ids).logits.float()

    kept = tmp_path / "out" / "base"
    first = logits(load_base(base, recipe, "cpu", kept=kept))
    (tmp_path / "model.gguf").unlink()
    assert torch.equal(logits(load_base(base, recipe, "cpu", kept=kept)), first)
    assert [path.name for path in kept.parent.iterdir()] == ["base"]
