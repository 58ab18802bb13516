"""Shipping: what a maintainer's export pinned is what ``fetch-cpu`` writes elsewhere, byte by byte and without torch."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.export import ship
from sluicegate.engines.adapt.export.export import WantedExport
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.cpu_model import models
from sluicegate.engines.cpu_model.cpu_model import fetch_cpu_model
from sluicegate.engines.cpu_model.models import SMALL
from sluicegate.engines.errors import EngineSetupError, ExportError
from support.small_gguf import adapter_arrays, write_base, write_peft

if TYPE_CHECKING:
    from pathlib import Path

np = pytest.importorskip("numpy")
pytest.importorskip("gguf")
pytest.importorskip("safetensors")

WANTED = WantedExport("llama_cpp", "guard", base="cpu", override="made by a test")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose CPU model is a few kilobytes; its folder of the shipped adapter."""
    base = write_base(tmp_path / "cache" / "base")
    assets = tmp_path / "assets"
    (assets / "bundles").mkdir(parents=True)
    shutil.copyfile(base / "manifest.json", assets / "bundles" / f"{SMALL.name}.json")
    monkeypatch.setattr(models, "ASSETS", assets)
    monkeypatch.setenv("SLUICEGATE_CACHE_DIR", str(tmp_path / "cache"))
    base.rename(SMALL.bundle_path(base=True))
    return SMALL.adapter_folder()


def fetched(package: Path, *, base: bool = False) -> Bundle:
    name = "served-base" if base else "served"
    made = fetch_cpu_model(base=base, destination=package.parents[2] / "cache" / name, report=lambda _: None)
    return Bundle.open(made)


def test_fetching_writes_the_bundle_that_shipping_pinned_and_needs_no_torch(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = ship.ship(SMALL, write_peft(tmp_path / "adapter"), WANTED, package, lambda _: None)
    assert {path.name for path in package.iterdir()} == {
        "adapter.safetensors",
        "adapter.json",
        "manifest.json",
        "gate.json",
    }
    for name in ("torch", "transformers", "peft"):
        monkeypatch.setitem(sys.modules, name, None)
    bundle = fetched(package)
    assert bundle.manifest == manifest
    assert bundle.manifest.passages
    assert bundle.manifest.adapter is not None
    plain = fetched(package, base=True)
    assert plain.manifest.adapter is None
    assert plain.manifest.files["model"].sha256 != manifest.files["model"].sha256


def test_shipping_again_replaces_what_was_there_whole(package: Path, tmp_path: Path) -> None:
    ship.ship(SMALL, write_peft(tmp_path / "a"), WANTED, package, lambda _: None)
    (package / "stale.json").touch()
    second = write_peft(tmp_path / "b", adapter_arrays(seed=2))
    manifest = ship.ship(SMALL, second, WANTED, package, lambda _: None)
    assert not (package / "stale.json").exists()
    assert fetched(package).manifest == manifest


def test_what_is_not_half_precision_or_too_large_is_not_shipped(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {name: one.astype(np.float32) for name, one in adapter_arrays().items()}
    with pytest.raises(ExportError, match="not float16"):
        ship.ship(SMALL, write_peft(tmp_path / "wide", wide), WANTED, package, lambda _: None)
    monkeypatch.setattr(ship, "MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="take a smaller r"):
        ship.ship(SMALL, write_peft(tmp_path / "large"), WANTED, package, lambda _: None)
    assert not package.exists()


def test_a_folder_of_something_else_is_not_replaced(package: Path, tmp_path: Path) -> None:
    package.mkdir(parents=True)
    (package / "precious").touch()
    with pytest.raises(ExportError, match="holds no shipped adapter; choose another --target"):
        ship.ship(SMALL, write_peft(tmp_path / "adapter"), WANTED, package, lambda _: None)
    assert (package / "precious").exists()


def test_a_damaged_package_is_named(package: Path, tmp_path: Path) -> None:
    ship.ship(SMALL, write_peft(tmp_path / "adapter"), WANTED, package, lambda _: None)
    weights = package / "adapter.safetensors"
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-2] + bytes(2))
    with pytest.raises(ExportError, match=r"adapter\.safetensors is sha256:.*install the package again"):
        fetched(package)
    weights.write_bytes(raw)
    (package / "gate.json").write_bytes(b"{}")
    with pytest.raises(EngineSetupError, match=r"gate\.json"):
        fetched(package)
    assert not (tmp_path / "cache" / "served").exists()


def test_shipping_needs_a_gate_or_a_reason_as_every_export_does(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = str(write_peft(tmp_path / "adapter"))
    with pytest.raises(SystemExit, match="no gate was passed"):
        ship.main([adapter, "--target", str(package)])
    ship.main([adapter, "--target", str(package), "--override", "the first one"])
    assert "smollm2-135m-guard, bundle sha256:" in capsys.readouterr().out
    assert (package / "manifest.json").is_file()
