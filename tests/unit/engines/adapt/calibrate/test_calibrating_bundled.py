"""A bundle with a calibration: another digest, the same weights, and the old one untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.engines.adapt.calibrate.calibrate import with_calibration
from sluicegate.engines.adapt.errors import CalibrationError
from sluicegate.engines.adapt.evaluate.scored import Engine
from sluicegate.engines.bundle.bundle import Bundle, file_digest
from sluicegate.engines.bundle.calibration import Calibration, Temperature
from support.small_bundle import small_manifest, write_small_bundle

if TYPE_CHECKING:
    from pathlib import Path


def content(temperature: float) -> bytes:
    calibration = Calibration(data=f"sha256:{'0' * 64}", fallback=Temperature(temperature=temperature))
    return orjson.dumps(calibration.model_dump(mode="json"))


def by(digest: str, adapter: str | None = None) -> Engine:
    return Engine(digest=digest, backend="fake", model="a model", adapter=adapter)


def test_a_bundle_gets_its_calibration_and_a_digest_of_its_own(tmp_path: Path) -> None:
    old = Bundle.open(write_small_bundle(tmp_path / "old"))
    new = with_calibration(old.path, tmp_path / "deep" / "new", content(2), by(old.digest))
    assert new.digest != old.digest
    assert Bundle.open(tmp_path / "deep" / "new").calibration == Calibration.parse(content(2))
    assert new.file("model").read_bytes() == old.file("model").read_bytes()
    # Again, from the calibrated one: replaced, and the first not written into through a link.
    newer = with_calibration(new.path, tmp_path / "newer", content(3), by(new.digest))
    assert newer.digest not in {old.digest, new.digest}
    assert Bundle.open(tmp_path / "newer").calibration == Calibration.parse(content(3))
    assert Bundle.open(tmp_path / "deep" / "new", pinned_digest=new.digest).calibration == Calibration.parse(
        content(2)
    )
    assert {one.name for one in tmp_path.iterdir()} == {"old", "deep", "newer"}


def test_an_adapter_is_known_by_its_digest(tmp_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    manifest = {**small_manifest(), "adapter": {"name": "ours", "digest": digest}}
    old = write_small_bundle(tmp_path / "old", manifest)
    assert with_calibration(old, tmp_path / "new", content(2), by("sha256:torch", digest)).calibration


def test_the_gate_s_report_says_that_other_scores_were_compared(tmp_path: Path) -> None:
    gate = orjson.dumps({"passed": True, "regressions": []})
    plain = write_small_bundle(tmp_path / "old")
    (plain / "gate.json").write_bytes(gate)
    document = orjson.loads((plain / "manifest.json").read_bytes())
    document["files"]["gate"] = {
        "path": "gate.json",
        "sha256": file_digest(plain / "gate.json"),
        "bytes": len(gate),
    }
    (plain / "manifest.json").write_bytes(orjson.dumps(document))
    new = with_calibration(plain, tmp_path / "new", content(2), by(Bundle.open(plain).digest))
    told = orjson.loads(new.file("gate").read_bytes())
    assert told["calibrated_since"] == file_digest(new.file("calibration"))
    assert (plain / "gate.json").read_bytes() == gate


def test_scores_of_another_engine_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    old = Bundle.open(write_small_bundle(tmp_path / "old"))
    with pytest.raises(CalibrationError, match="evaluate this bundle"):
        with_calibration(old.path, tmp_path / "new", content(2), by("sha256:other"))
    with pytest.raises(CalibrationError, match="choose another --bundle-out"):
        with_calibration(old.path, old.path, content(2), by(old.digest))
    with pytest.raises(CalibrationError, match="cannot be written"):
        with_calibration(old.path, old.path / "model.bin" / "new", content(2), by(old.digest))
    assert [one.name for one in tmp_path.iterdir()] == ["old"]
