"""Export of an adapter as a bundle: what decides, what is written, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner

from sluicegate.engines.adapt.export.export import WantedExport, export
from sluicegate.engines.adapt.train.base import open_base
from sluicegate.engines.adapt.train.recipe import TrainingBase
from sluicegate.engines.bundle.bundle import Bundle, file_digest
from sluicegate.engines.cpu_model.peft_adapter import WEIGHTS, read_adapter
from sluicegate.engines.errors import ExportError
from sluicegate.pipeline.command import app
from support.small_gguf import published_of, write_base, write_peft
from support.tiny_checkpoint import write_tiny_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.export.export import Exported

pytest.importorskip("gguf")
pytest.importorskip("safetensors")

UNSEEN = "nobody may export this \u202e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base and a training's adapter."""
    write_base(tmp_path / "base")
    write_peft(tmp_path / "training" / "best")
    return tmp_path


def exported(folder: Path, out: str = "out", **options: Any) -> Exported:
    wanted = replace(WantedExport("llama_cpp", "loans", base=str(folder / "base")), **options)
    return export(folder / "training" / "best", folder / out, wanted, lambda _: None)


def digest_of(folder: Path) -> str:
    return read_adapter(folder / "training" / "best").digest


def gate(folder: Path, *, passed: bool = True, **changed: Any) -> Path:
    report = {
        "passed": passed,
        "regressions": [] if passed else [{"what": "macro_f1_drop", "by": "language", "group": "de"}],
        "judged": {"engine": {"digest": f"sha256:{0:064}", "adapter": digest_of(folder)}},
        "rows": 300,
        **changed,
    }
    (folder / "gate.json").write_bytes(orjson.dumps(report))
    return folder / "gate.json"


def test_a_passed_gate_lets_an_adapter_out_and_goes_along(folder: Path) -> None:
    done = exported(folder, gate=gate(folder))
    bundle = Bundle.open(done.folder)
    assert bundle.digest == done.digest
    assert bundle.manifest.name == "loans"
    assert bundle.manifest.adapter is not None
    assert (bundle.manifest.adapter.name, bundle.manifest.adapter.digest) == ("loans", digest_of(folder))
    assert bundle.manifest.licence.attribution.endswith("Adapted: LoRA adapter loans.")
    carried = orjson.loads(bundle.file("gate").read_bytes())
    assert (carried["passed"], carried["override"], carried["rows"]) == (True, None, 300)
    assert not list(folder.glob(".out.part-*"))


def test_without_a_gate_nothing_is_exported_and_nothing_is_left(folder: Path) -> None:
    with pytest.raises(ExportError, match="no gate was passed; give --gate"):
        exported(folder)
    with pytest.raises(ExportError, match=r"did not pass \(.*macro_f1_drop.*de.*\)"):
        exported(folder, gate=gate(folder, passed=False))
    with pytest.raises(ExportError, match=r"did not pass \(macro-F1"):  # a report that contradicts itself
        exported(folder, gate=gate(folder, regressions=["macro-F1"]))
    assert not (folder / "out").exists()


@pytest.mark.parametrize("failed_gate", [True, False])
def test_an_override_is_recorded(folder: Path, failed_gate: bool) -> None:
    report = gate(folder, passed=False) if failed_gate else None
    done = exported(folder, gate=report, override="the desk of Tuesday decided so")
    bundle = Bundle.open(done.folder)
    assert "gate" in bundle.manifest.files
    carried = orjson.loads(bundle.file("gate").read_bytes())
    assert (carried["passed"], carried["override"]) == (False, "the desk of Tuesday decided so")
    assert bool(carried["regressions"]) == failed_gate


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", UNSEEN, "x" * 401])
def test_an_override_without_a_printable_reason_is_refused(folder: Path, reason: str) -> None:
    with pytest.raises(ExportError, match="--override: give a reason") as caught:
        exported(folder, override=reason)
    assert UNSEEN not in str(caught.value)


@pytest.mark.parametrize("override", [None, "we know better"])
def test_the_gate_of_another_adapter_is_refused(folder: Path, override: str | None) -> None:
    other = {"engine": {"digest": f"sha256:{1:064}", "adapter": f"sha256:{2:064}"}}
    with pytest.raises(ExportError, match="not this adapter's"):
        exported(folder, gate=gate(folder, judged=other), override=override)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON"),
        (b"[]", "report is not as"),
        (b'{"passed": 1, "regressions": [], "judged": {}}', "passed is not as"),
        (b'{"passed": true, "regressions": []}', "judged is not as"),
    ],
)
def test_a_gate_s_report_that_cannot_be_read_is_no_passed_one(
    folder: Path, content: bytes, said: str
) -> None:
    (folder / "gate.json").write_bytes(content)
    with pytest.raises(ExportError, match=said):
        exported(folder, gate=folder / "gate.json")


def test_a_draft_can_be_judged_in_the_place_of_the_bundle(folder: Path) -> None:
    draft = exported(folder, "draft", draft=True)
    manifest = Bundle.open(draft.folder).manifest
    assert manifest.name == "loans-draft"
    assert "gate" not in manifest.files
    judged = {"engine": {"digest": draft.digest, "adapter": "loans"}}
    evaluation = {"judged": judged, "measures": {"macro_f1": {"value": 0.5, "interval": None}}}
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "evaluation.json").write_bytes(orjson.dumps(evaluation))
    done = exported(folder, gate=gate(folder, judged=judged), evaluation=folder / "evaluation")
    final = Bundle.open(done.folder).manifest
    assert final.evaluation == {"macro_f1": 0.5}
    assert final.files["model"] == manifest.files["model"]
    evaluation["judged"] = {**judged, "split": None, "training_rows": 3}
    (folder / "evaluation" / "evaluation.json").write_bytes(orjson.dumps(evaluation))
    with pytest.raises(ExportError, match="evaluate with --split dev"):
        exported(folder, "trained", gate=gate(folder, judged=judged), evaluation=folder / "evaluation")
    with pytest.raises(ExportError, match="--draft goes without"):
        exported(folder, "other", draft=True, override="why not")


def test_a_calibration_becomes_the_bundle_s(folder: Path) -> None:
    calibration = {
        "version": 1,
        "data": f"sha256:{0:064}",
        "groups": [],
        "fallback": {"method": "temperature", "temperature": 2.0},
    }
    (folder / "calibration.json").write_bytes(orjson.dumps(calibration))
    done = exported(folder, gate=gate(folder), calibration=folder / "calibration.json")
    found = Bundle.open(done.folder).calibration
    assert found is not None
    assert found.fallback.method == "temperature"
    calibration["of"] = [digest_of(folder)]
    (folder / "calibration.json").write_bytes(orjson.dumps(calibration))
    assert exported(folder, "same", gate=gate(folder), calibration=folder / "calibration.json")
    calibration["of"] = [f"sha256:{9:064}"]
    (folder / "calibration.json").write_bytes(orjson.dumps(calibration))
    with pytest.raises(ExportError, match="fitted on another model's scores"):
        exported(folder, "other", gate=gate(folder), calibration=folder / "calibration.json")


def test_equal_inputs_give_equal_bundles(folder: Path) -> None:
    first, second = (exported(folder, name, gate=gate(folder)) for name in ("a", "b"))
    assert first.digest == second.digest


def test_for_servers_that_add_adapters_the_adapter_goes_as_it_is(folder: Path) -> None:
    done = exported(folder, form="hf-adapter", gate=gate(folder))
    bundle = Bundle.open(done.folder)
    assert file_digest(bundle.file("adapter")) == digest_of(folder)
    assert bundle.file("adapter").name == WEIGHTS
    config = orjson.loads(bundle.file("adapter_config").read_bytes())
    assert config["base_model_name_or_path"] == "small"  # and no path of the machine it was trained on
    assert "model" not in bundle.manifest.files
    # What was written is an adapter that can be read again.
    assert read_adapter(bundle.file("adapter").parent).digest == digest_of(folder)


def test_a_bundle_for_servers_of_a_checkpoint_has_its_layout_and_tokenizer(folder: Path) -> None:
    checkpoint = write_tiny_checkpoint(folder / "checkpoint")
    options: dict[str, Any] = {
        "form": "hf-adapter",
        "base": str(checkpoint),
        "layout": "vendor",
        "gate": gate(folder),
    }
    with pytest.raises(ExportError, match="--licence"):
        exported(folder, **options)
    with pytest.raises(ExportError, match="--layout"):
        exported(folder, **{**options, "layout": None})
    bundle = Bundle.open(exported(folder, licence="Apache-2.0", **options).folder)
    assert bundle.manifest.layout.name == "vendor"
    assert bundle.layout.name == "vendor"
    with pytest.raises(ExportError, match="use --to hf-merged for a checkpoint"):
        exported(folder, "gguf", **{**options, "form": "llama_cpp", "licence": "Apache-2.0"})


def test_another_base_than_that_of_the_training_is_refused(folder: Path) -> None:
    plan = {
        "recipe": {"base": {"bundle": str(folder / "base")}},
        "digest": f"sha256:{3:064}",
        "layout_digest": Bundle.open(folder / "base").layout.digest,
        "tokenizer_digest": f"sha256:{4:064}",
    }
    path = folder / "training" / "plan.json"
    path.write_bytes(orjson.dumps(plan))
    with pytest.raises(ExportError, match=f"its tokenizer is .*, the training's was sha256:{4:064}"):
        exported(folder, base=None, gate=gate(folder))
    plan["tokenizer_digest"] = Bundle.open(folder / "base").tokenizer.digest
    path.write_bytes(orjson.dumps(plan))
    assert not Bundle.open(exported(folder, base=None, gate=gate(folder)).folder).manifest.reasons
    path.write_bytes(b"{}")
    with pytest.raises(ExportError, match=r"plan\.json is not as"):
        exported(folder, "other", gate=gate(folder))


@pytest.mark.parametrize("base", [None, "base"])
def test_an_adapter_that_learnt_another_layout_than_its_base_has_is_served_in_that_one(
    folder: Path, base: str | None
) -> None:
    opened = open_base(TrainingBase(bundle=str(folder / "base"), layout="compact-short"))
    plan = {
        "recipe": {"base": {"bundle": str(folder / "base"), "layout": "compact-short"}},
        "digest": f"sha256:{3:064}",
        "layout_digest": opened.layout.digest,
        "tokenizer_digest": opened.tokenizer.digest,
    }
    (folder / "training" / "plan.json").write_bytes(orjson.dumps(plan))
    named = None if base is None else str(folder / base)
    bundle = Bundle.open(exported(folder, base=named, gate=gate(folder)).folder)
    assert bundle.manifest.layout.name == bundle.layout.name == "compact-short"
    assert bundle.layout.digest == opened.layout.digest != Bundle.open(folder / "base").layout.digest


@pytest.mark.parametrize(("reasons", "told"), [(0, False), (9, False), (10, True)])
def test_a_bundle_says_whether_its_adapter_learnt_to_give_reasons(
    folder: Path, reasons: int, told: bool
) -> None:
    base = Bundle.open(folder / "base")
    plan = {
        "recipe": {"base": {"bundle": str(folder / "base")}},
        "digest": f"sha256:{3:064}",
        "layout_digest": base.layout.digest,
        "tokenizer_digest": base.tokenizer.digest,
        "planned_rows": 100,
        "reasons": reasons,
    }
    (folder / "training" / "plan.json").write_bytes(orjson.dumps(plan))
    manifest = Bundle.open(exported(folder, base=None, gate=gate(folder)).folder).manifest
    assert manifest.reasons == told


def test_a_base_without_the_published_weights_or_with_others_is_refused(folder: Path) -> None:
    published = published_of(folder / "base")
    raw = published.read_bytes()
    published.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ExportError, match=r"is not the file that base\.sha256 names"):
        exported(folder, gate=gate(folder))
    published.unlink()
    with pytest.raises(ExportError, match=r"original-.*\.gguf is missing.*fetch-cpu --base"):
        exported(folder, gate=gate(folder))


def test_an_adapted_bundle_is_no_base_and_a_full_folder_no_place(folder: Path) -> None:
    done = exported(folder, gate=gate(folder))
    with pytest.raises(ExportError, match="merged into it already"):
        exported(folder, "twice", base=str(done.folder), gate=gate(folder))
    with pytest.raises(ExportError, match="not an empty folder"):
        exported(folder, gate=gate(folder))


def test_the_command_exports_and_names_the_bundle_after_the_training(folder: Path) -> None:
    options = ["--to", "llama_cpp", "--base", folder / "base", "--out", folder / "out", "--json"]
    arguments = ["adapt", "export", folder / "training" / "best", *options]
    refused = CliRunner().invoke(app, [str(one) for one in arguments])
    assert isinstance(refused.exception, ExportError)
    arguments += ["--gate", gate(folder)]
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(folder / "out")
    assert orjson.loads(result.stdout) == {
        "path": str(folder / "out"),
        "digest": bundle.digest,
        "adapter": digest_of(folder),
    }
    assert bundle.manifest.name == "training"
