"""An exported GGUF says what base and adapter say in torch; bounds are on differences, not on an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.cpu_model import gguf_model
from sluicegate.engines.cpu_model.gguf_model import GgufModel
from sluicegate.engines.cpu_model.peft_adapter import read_adapter
from support.small_gguf import adapter_arrays, write_peft, write_small_gguf

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.adapt,
    pytest.mark.filterwarnings("default::FutureWarning", "default::UserWarning"),
]


def loaded(folder: Path, name: str) -> Any:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, local_files_only=True).eval()


def probabilities(model: Any) -> Any:
    import torch  # noqa: PLC0415 - gigabytes

    torch.manual_seed(2)
    ids = torch.randint(0, model.config.vocab_size, (8, 24))
    with torch.no_grad():
        return model(input_ids=ids).logits[:, -1].softmax(-1)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_the_merged_model_agrees_with_base_and_adapter_and_in_the_other_row_order_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    from peft import PeftModel  # noqa: PLC0415 - the same

    write_small_gguf(tmp_path / "base.gguf", architecture=architecture)
    # Attention alone, so that nothing hides its rows.
    arrays = adapter_arrays(r=2, spread=0.15, modules=["self_attn.q_proj", "self_attn.k_proj"])
    adapter = write_peft(tmp_path / "adapter", arrays)
    base = loaded(tmp_path, "base.gguf")
    plain = probabilities(base)
    expected = probabilities(PeftModel.from_pretrained(base, adapter).eval())
    read = read_adapter(adapter)
    far = {}
    for name in ("right", "wrong"):
        if name == "wrong":
            monkeypatch.setattr(gguf_model, "_INTERLEAVED", {"llama": False, "qwen2": True})
        gguf_model.merge(GgufModel(tmp_path / "base.gguf"), read, tmp_path / f"{name}.gguf", name="small")
        far[name] = float((probabilities(loaded(tmp_path, f"{name}.gguf")) - expected).abs().mean())
    moved = float((plain - expected).abs().mean())
    # Measured: 0.07 and 1.3 times as far as the adapter moves the base.
    assert far["right"] < 0.2 * moved
    assert far["wrong"] > 0.5 * moved
