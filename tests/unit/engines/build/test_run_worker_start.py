"""A worker opens a built bundle, and refuses one that is not the very one, by the field's name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.backends import gpu, open_backends
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import EngineError, EngineSetupError
from sluicegate.pipeline.settings.engine_choice import engine_choices
from sluicegate.pipeline.settings.tree import EngineSettings
from support.small_build import A100, H100

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluicegate.engines.backends import Backends

OTHER = "sha256:" + "0" * 64
H100_NVL = gpu.Gpu("NVIDIA H100 NVL", "9.0", 95_830, "570.86.15", "GPU-3333")


@pytest.fixture
def bundle(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpu, "probe_gpus", lambda: [H100])
    return shutil.copytree(built / "out", tmp_path / "bundle")


def opened(bundle: Path, **settings: Any) -> Backends:
    """As a worker does at its start."""
    document = {"backend": "tensorrt_llm", "bundle": str(bundle), **settings}
    return open_backends(engine_choices(EngineSettings.model_validate(document)))


def refusal(bundle: Path, **settings: Any) -> str:
    with pytest.raises(EngineError) as caught:
        opened(bundle, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edited(bundle: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = bundle / "manifest.json"
    document = orjson.loads(path.read_bytes())
    change(document)
    path.write_bytes(orjson.dumps(document))
    return bundle


def test_the_pinned_bundle_on_its_gpu_opens(bundle: Path) -> None:
    digest = Bundle.open(bundle).digest
    assert opened(bundle, digest=digest)[None].engine.info.digest == digest


def test_one_byte_of_any_file_is_refused_by_the_field(bundle: Path) -> None:
    files = orjson.loads((bundle / "manifest.json").read_bytes())["files"]
    assert {"served_1", "served_2", "tokenizer", "layout", "serving", "recipe", "gate"} <= files.keys()
    for role, entry in files.items():
        path = bundle / entry["path"]
        raw = path.read_bytes()
        at = len(raw) // 2
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert refusal(bundle).startswith(f"{entry['path']}: files.{role}.sha256 is ")
        path.write_bytes(raw)
    assert opened(bundle)


def test_another_digest_than_the_pinned_one_is_refused(bundle: Path) -> None:
    message = refusal(bundle, digest=OTHER)
    assert message.startswith("manifest.json: its digest is ")
    assert f"the settings pin {OTHER}" in message


@pytest.mark.parametrize(
    ("gpus", "field"),
    [
        ([A100], "build.compute_capability is 9.0, this GPU has 8.0"),
        ([H100_NVL], "build.gpu is NVIDIA H100 80GB HBM3, this GPU is NVIDIA H100 NVL"),
    ],
)
def test_another_gpu_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, gpus: Sequence[gpu.Gpu], field: str
) -> None:
    monkeypatch.setattr(gpu, "probe_gpus", lambda: gpus)
    message = refusal(bundle)
    assert message.startswith(f"manifest.json: {field}; ")
    assert "sluicegate engine build" in message


def test_a_checkpoint_takes_another_gpu_of_the_same_capability(bundle: Path) -> None:
    manifest = Bundle.open(edited(bundle, lambda d: d["build"].update(route="pytorch"))).manifest
    gpu.check_gpu(manifest, lambda: [H100_NVL])
    with pytest.raises(EngineError, match=r"build\.compute_capability"):
        gpu.check_gpu(manifest, lambda: [A100])


def test_another_tokenizer_is_refused(bundle: Path) -> None:
    edited(bundle, lambda d: d["tokenizer"].update(digest=OTHER))
    assert refusal(bundle).startswith(f"tokenizer.json: tokenizer.digest is {OTHER}, ")


def test_labels_that_the_tokenizer_does_not_give_are_refused(bundle: Path) -> None:
    edited(bundle, lambda d: d["labels"]["safe"].update(token_ids=[7]))
    assert refusal(bundle).startswith("manifest.json: labels.safe.token_ids is [7], ")


def test_a_file_beside_the_engine_that_the_manifest_does_not_list_is_refused(bundle: Path) -> None:
    (bundle / "served" / "rank1.engine").touch()
    assert "served holds 1 files that the manifest does not list, such as 'rank1.engine'" in refusal(bundle)


def test_longer_prompts_than_it_was_built_for_are_refused(bundle: Path) -> None:
    edited(bundle, lambda d: d["limits"].update(max_prompt_tokens=1585))
    assert "serving.json: max_input_len is 1600, and prompts of 1585 tokens need 1601" in refusal(bundle)


def test_a_machine_without_a_driver_is_told_what_it_lacks(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> list[gpu.Gpu]:
        raise EngineSetupError("nvidia-smi is not there: this needs a machine with an NVIDIA driver")

    monkeypatch.setattr(gpu, "probe_gpus", absent)
    assert "nvidia-smi is not there" in refusal(bundle)
