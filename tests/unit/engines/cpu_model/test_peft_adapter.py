"""Reading of adapters: what peft writes is taken, what would be merged otherwise than trained is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.cpu_model.peft_adapter import CONFIG, WEIGHTS, read_adapter
from sluicegate.engines.errors import ExportError
from support.small_gguf import LAYERS, SHAPES, adapter_arrays, peft_config, write_peft

if TYPE_CHECKING:
    from pathlib import Path

np = pytest.importorskip("numpy")
pytest.importorskip("safetensors")


def test_a_delta_is_the_product_of_both_factors_times_alpha_by_r(tmp_path: Path) -> None:
    arrays = adapter_arrays()
    read = read_adapter(write_peft(tmp_path, arrays))
    assert len(read.factors) == LAYERS * len(SHAPES)
    for module in read.factors:
        a, b = (arrays[f"base_model.model.{module}.lora_{side}.weight"].astype(np.float64) for side in "AB")
        assert np.abs(read.delta(module) - 4 / 2 * (b @ a)).max() < 1e-6
        assert read.delta(module).dtype == np.float32


def test_weights_in_bfloat16_are_those_numbers(tmp_path: Path) -> None:
    halves = np.array([[1.5, -2.0]], np.float32)
    raw = (halves.view(np.uint32) >> 16).astype("<u2").tobytes()
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    header = (
        f'{{"{name}A.weight":{{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}},'
        f'"{name}B.weight":{{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]}}}}'
    ).encode()
    write_peft(tmp_path, config=peft_config(r=1, lora_alpha=1))
    (tmp_path / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + raw + raw)
    found = read_adapter(tmp_path).delta("model.layers.0.mlp.up_proj")
    assert found.tolist() == [[2.25, -3.0], [-3.0, 4.0]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": True}, "r is no number"),
        ({"r": 3}, "not of rank 3"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"bias": "all"}, "bias"),
        ({"use_rslora": True}, "use_rslora"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"of_a_later_peft": 1}, "of_a_later_peft"),
    ],
)
def test_what_changes_the_weights_otherwise_is_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    write_peft(tmp_path, config=peft_config(**changed))
    with pytest.raises(ExportError, match=said):
        read_adapter(tmp_path)


def _without_a_factor(arrays: dict[str, Any]) -> None:
    arrays.pop(next(name for name in arrays if "lora_B" in name))


def _with_an_embedding(arrays: dict[str, Any]) -> None:
    arrays["base_model.model.model.embed_tokens.lora_embedding_A"] = np.ones((2, 2), np.float16)


def _with_no_number(arrays: dict[str, Any]) -> None:
    next(iter(arrays.values()))[0, 0] = np.nan


def _with_integers(arrays: dict[str, Any]) -> None:
    name = next(iter(arrays))
    arrays[name] = arrays[name].astype(np.int8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_a_factor, "one of its two factors"),
        (_with_an_embedding, "no weight of a LoRA on a linear module"),
        (_with_no_number, "no numbers"),
        (_with_integers, "I8"),
    ],
)
def test_weights_that_are_not_those_of_a_lora_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    arrays = adapter_arrays()
    change(arrays)
    with pytest.raises(ExportError, match=said):
        read_adapter(write_peft(tmp_path, arrays))


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    write_peft(tmp_path)
    raw = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(raw[:-1])
    with pytest.raises(ExportError, match=WEIGHTS):
        read_adapter(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ExportError, match=WEIGHTS):
        read_adapter(tmp_path)
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(ExportError, match=CONFIG):
        read_adapter(tmp_path)
