"""Calibrating an evaluation, and a bundle with the calibration in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.adapt.calibrate.calibrate import calibrate, with_calibration
from sluicegate.engines.adapt.calibrate.fitting import Aims
from sluicegate.engines.adapt.calibrate.grouping import GroupingTerms
from sluicegate.engines.adapt.calibrate.report import page
from sluicegate.engines.adapt.errors import CalibrationError
from sluicegate.engines.adapt.evaluate.scored import Evaluated, JudgedEngine, read_evaluated
from sluicegate.engines.bundle.bundle import Bundle, file_digest
from sluicegate.engines.bundle.calibration import Calibration, Temperature
from support.scored_rows import labelled_rows, scored, write_evaluation
from support.small_bundle import small_manifest, write_small_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow


TERMS = GroupingTerms(Aims((0.05,), (2,)))


def evaluated(folder: Path, rows: list[ScoredRow], **changes: Any) -> Evaluated:
    return read_evaluated(write_evaluation(folder, rows, **changes))


def test_held_out_rows_are_better_calibrated_and_no_worse_ordered(tmp_path: Path) -> None:
    rows = scored(labelled_rows(800, languages=("en", "zh")), seed=1, sureness=2.5)
    rows[0] = replace(rows[0], probabilities=None, failure="timed_out", well_formed=None)
    calibration, report = calibrate(evaluated(tmp_path, rows), TERMS)
    assert (report["rows"], report["failed"]) == (799, 1)
    before, after = report["before"], report["held_out"]
    assert after["ece"]["value"] < before["ece"]["value"] / 2
    assert after["log_loss"]["value"] < before["log_loss"]["low"]
    assert after["auroc_safe"]["value"] > before["auroc_safe"]["value"] - 0.01
    held = report["thresholds"]["risk_fpr_5"]["held_out"]
    assert 0.02 < held["false_positive_rate"] < 0.09
    groups = {(one["kind"], *one["languages"]) for one in report["groups"]}
    assert groups == {("post",), ("post", "zh"), ("post", "en")}
    assert sum(one["rows"] for one in report["groups"] if one["languages"]) == report["groups"][0]["rows"]
    assert calibration.data == report["data"]
    text = page(report, "calibration.png")
    assert "| post, zh |" in text
    assert "![Reliability](calibration.png)" in text


def test_noise_is_not_taken_for_a_calibration(tmp_path: Path) -> None:
    rows = scored(labelled_rows(300), seed=1)
    labels = [row.severity for row in rows]
    shuffled = [replace(row, severity=labels[-at]) for at, row in enumerate(rows)]
    _, report = calibrate(evaluated(tmp_path, shuffled), TERMS)
    # What rows left out say must be that nothing is known: hardly better than the labels' own shares.
    assert report["held_out"]["log_loss"]["value"] > 0.95
    assert 0.4 < report["held_out"]["auroc_safe"]["value"] < 0.6


def test_the_same_evaluation_gives_the_same_calibration(tmp_path: Path) -> None:
    rows = scored(labelled_rows(300), seed=1, sureness=2)
    one, other = (
        calibrate(evaluated(tmp_path / str(at), list(order)), TERMS)
        for at, order in enumerate((rows, rows[::-1]))
    )
    assert one == other


@pytest.mark.parametrize(
    ("count", "changes", "said"),
    [
        (100, {"split": "train"}, "rows of the split that trains are among these"),
        (100, {"split": None, "training_rows": 1}, "rows of the split that trains are among these"),
        (100, {"terms": {"calibrated": True}}, "calibrated already; evaluate without --calibrated"),
        (30, {}, "30 rows with scores, 18 of them harmful; evaluate at least 50"),
    ],
)
def test_what_cannot_be_calibrated_on_is_one_sentence(
    tmp_path: Path, count: int, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CalibrationError, match=said):
        calibrate(evaluated(tmp_path, scored(labelled_rows(count), seed=1), **changes), TERMS)


def test_rows_of_one_side_are_refused(tmp_path: Path) -> None:
    rows = [replace(row, severity="safe") for row in scored(labelled_rows(100), seed=1)]
    with pytest.raises(CalibrationError, match="100 rows with scores, 0 of them harmful"):
        calibrate(evaluated(tmp_path, rows), TERMS)


def content(temperature: float) -> bytes:
    calibration = Calibration(data=f"sha256:{'0' * 64}", fallback=Temperature(temperature=temperature))
    return orjson.dumps(calibration.model_dump(mode="json"))


def by(digest: str, adapter: str | None = None) -> JudgedEngine:
    return JudgedEngine(digest=digest, backend="fake", model="a model", adapter=adapter)


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
