"""The machine's GPU, as the driver tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends.gpu import GPUS, Gpu, first_visible, probe_gpus
from sluicegate.engines.errors import EngineSetupError
from support.build_stubs import A100 as A100_LINE
from support.build_stubs import H100 as H100_LINE
from support.build_stubs import write_stubs
from support.small_build import A100, H100

if TYPE_CHECKING:
    from pathlib import Path


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("PATH", f"{write_stubs(folder / 'stubs', answer)}:/usr/bin:/bin")


def test_the_drivers_answer_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, f"{H100_LINE}\n{A100_LINE}\n")
    assert probe_gpus() == [H100, A100]


@pytest.mark.parametrize(
    "answer", ["NVIDIA H100", "a, 9.0, many, 570, GPU-1", "a\x1b[2J, 9.0, 1, 570, GPU-1"]
)
def test_an_answer_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    driver(tmp_path, monkeypatch, answer)
    with pytest.raises(EngineSetupError, match=r"no usable answer \(ValueError\); run it by hand"):
        probe_gpus()


def test_no_driver_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineSetupError, match="nvidia-smi is not there"):
        probe_gpus()


@pytest.mark.parametrize(
    ("wish", "found"), [(None, H100), ("1", A100), ("GPU-22", A100), ("1,0", A100), ("0", H100)]
)
def test_the_first_that_is_left_visible_counts(
    monkeypatch: pytest.MonkeyPatch, wish: str | None, found: Gpu
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if wish is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wish)
    assert first_visible([H100, A100]) == found


@pytest.mark.parametrize("wish", ["", "2", "-1", "GPU-9", "MIG-1"])
def test_none_that_is_left_is_refused(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wish)
    with pytest.raises(EngineSetupError, match="leaves no GPU of the 2"):
        first_visible([H100, A100])


@pytest.mark.parametrize(
    ("name", "capability", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "9.0", "H100"),
        ("NVIDIA H100 NVL", "9.0", "H100"),
        ("NVIDIA A100-SXM4-80GB", "8.0", "A100"),
        ("NVIDIA L40S", "8.9", "L40S"),
        ("NVIDIA L4", "8.9", "L4"),
        ("NVIDIA GH200 480GB", "9.0", None),
        ("NVIDIA L40", "8.9", None),
        ("NVIDIA H100 80GB HBM3", "8.0", None),
    ],
)
def test_a_gpus_kind_is_told_by_name_and_capability(name: str, capability: str, kind: str | None) -> None:
    found = [one for one in GPUS if GPUS[one].is_this(Gpu(name, capability, 1, "570", "GPU-1"))]
    assert found == ([] if kind is None else [kind])


def test_only_ampere_does_not_compute_fp8() -> None:
    assert [name for name, kind in GPUS.items() if not kind.computes_fp8] == ["A100"]
