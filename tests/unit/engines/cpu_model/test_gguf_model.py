"""Merging into a GGUF: which tensors change, in which order of rows, and into which bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.cpu_model import gguf_model
from sluicegate.engines.cpu_model.gguf_model import GgufModel, interleaved, merge
from sluicegate.engines.cpu_model.peft_adapter import read_adapter
from sluicegate.engines.errors import EngineSetupError, ExportError
from support.small_gguf import HEADS, HIDDEN, adapter_arrays, write_base, write_peft, write_small_gguf

if TYPE_CHECKING:
    from pathlib import Path

np = pytest.importorskip("numpy")
gguf = pytest.importorskip("gguf")
pytest.importorskip("safetensors")


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    return {one.name: (one.tensor_type.name, bytes(one.data)) for one in gguf.GGUFReader(path).tensors}


def values(path: Path, name: str) -> object:
    (found,) = (one for one in gguf.GGUFReader(path).tensors if one.name == name)
    return gguf.quants.dequantize(found.data, found.tensor_type)


def merged(folder: Path, adapter: Path, name: str = "merged") -> Path:
    target = folder / f"{name}.gguf"
    merge(GgufModel(folder / "base.gguf"), read_adapter(adapter), target, name="small")
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_gguf(tmp_path / "base.gguf")
    return tmp_path


def test_only_adapted_tensors_change_and_by_the_adapter_s_product(folder: Path) -> None:
    adapter = write_peft(folder / "a", adapter_arrays(modules=["mlp.down_proj", "self_attn.v_proj"]))
    found = merged(folder, adapter)
    GgufModel(folder / "base.gguf").write_q8_0(folder / "plain.gguf", name="small")
    before, after = tensors(folder / "plain.gguf"), tensors(found)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"blk.{n}.{kind}.weight" for n in range(2) for kind in ("attn_v", "ffn_down")}
    assert {kind for kind, _ in after.values()} == {"Q8_0", "F32"}
    read = read_adapter(adapter)
    for name, module in (("ffn_down", "mlp.down_proj"), ("attn_v", "self_attn.v_proj")):
        tensor = f"blk.1.{name}.weight"
        wanted = values(folder / "base.gguf", tensor) + read.delta(f"model.layers.1.{module}")
        step = np.abs(wanted).max() / 127
        assert np.abs(values(found, tensor) - wanted).max() <= 0.51 * step


def test_equal_inputs_give_equal_bytes(folder: Path) -> None:
    adapter = write_peft(folder / "a")
    assert merged(folder, adapter).read_bytes() == merged(folder, adapter, "again").read_bytes()


def test_rows_of_q_and_k_are_interleaved_within_each_head() -> None:
    rows = np.arange(HIDDEN * 1.0)[:, None]
    size = HIDDEN // HEADS
    for head in range(HEADS):
        found = interleaved(rows, HEADS)[head * size : (head + 1) * size, 0].tolist()
        halves = range(head * size, head * size + size // 2)
        assert found == [value for one in halves for value in (one, one + size // 2)]


def test_an_adapter_of_another_model_is_refused(folder: Path) -> None:
    arrays = adapter_arrays(modules=["mlp.up_proj"])
    elsewhere = {name.replace("layers.1.", "layers.7."): one for name, one in arrays.items()}
    with pytest.raises(ExportError, match=r"the base has no 'model\.layers\.7\.mlp\.up_proj'"):
        merged(folder, write_peft(folder / "a", elsewhere))
    narrow = {name: one[:, :32] if "lora_A" in name else one for name, one in arrays.items()}
    with pytest.raises(ExportError, match=r"\(96, 64\) in the base and \(96, 32\)"):
        merged(folder, write_peft(folder / "a", narrow))


def test_where_the_output_has_weights_of_its_own_the_embeddings_stay_as_they_are(tmp_path: Path) -> None:
    write_small_gguf(tmp_path / "base.gguf", architecture="qwen2")
    GgufModel(tmp_path / "base.gguf").write_q8_0(tmp_path / "plain.gguf", name="small")
    before, after = tensors(tmp_path / "base.gguf"), tensors(tmp_path / "plain.gguf")
    assert after["token_embd.weight"] == before["token_embd.weight"]
    assert after["output.weight"][0] == "Q8_0"
    assert after["blk.0.attn_q.bias"] == before["blk.0.attn_q.bias"]


def test_rows_of_qwen2_lie_as_they_were_trained(tmp_path: Path) -> None:
    write_small_gguf(tmp_path / "base.gguf", architecture="qwen2")
    adapter = write_peft(tmp_path / "a", adapter_arrays(modules=["self_attn.q_proj"]))
    found = merged(tmp_path, adapter)
    read = read_adapter(adapter)
    wanted = values(tmp_path / "base.gguf", "blk.1.attn_q.weight") + read.delta(
        "model.layers.1.self_attn.q_proj"
    )
    assert np.abs(values(found, "blk.1.attn_q.weight") - wanted).max() <= 0.51 * np.abs(wanted).max() / 127


def test_a_tokenizer_that_cuts_text_in_another_way_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_model, "_CUTS", {})
    with pytest.raises(EngineSetupError, match=r"tokenizer\.ggml\.pre is 'smollm'"):
        GgufModel(folder / "base.gguf").tokenizer_json()


def test_an_architecture_whose_rows_nobody_checked_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", architecture="qwen3")
    adapter = read_adapter(write_peft(tmp_path / "a"))
    with pytest.raises(ExportError, match=r"architecture is 'qwen3'.*hf-merged"):
        merge(GgufModel(base / "model.gguf"), adapter, tmp_path / "out.gguf", name="small")
