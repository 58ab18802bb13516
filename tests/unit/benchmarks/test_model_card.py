"""The model card: every figure from a report, what is missing named, and the rule of what is not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from model_card import report as card_sections
from model_card import study as model_card
from shared.report import folder_of
from sluicegate.engines.adapt.evaluate.evaluation import evaluation
from sluicegate.engines.bundle import Manifest
from sluicegate.engines.cpu_model.models import MODELS, SMALL, CpuModel
from support.scored import scored, sure

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMS = ("adapter", "base", "baseline")


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.05}


def line(language: str, rows: int, *, adapter: float, baseline: float, auroc: bool = True) -> dict[str, Any]:
    """A language's line; AUROC is macro-F1 and a tenth."""

    def of(value: float) -> dict[str, Any]:
        found = {"macro_f1": estimate(value)}
        return {**found, "auroc_safe": estimate(value + 0.1)} if auroc else found

    return {
        "language": language,
        "rows": rows,
        "adapter": of(adapter),
        "base": of(0.1),
        "baseline": of(baseline),
    }


def judged() -> dict[str, Any]:
    rows = [
        scored("a", "safe", sure("unsafe"), group="pair"),
        scored("b", "unsafe", sure("unsafe"), group="pair", categories=("Violent",), well_formed=True, found_categories=("Violent",), found_reason="Violent, it is."),
        scored("c", "safe", sure("safe")),
    ]  # fmt: skip
    return evaluation(rows, seed=0)


def reports() -> dict[str, Any]:
    share = {"hits": 3, "of": 10, "low": 0.1, "high": 0.6}
    systems = {"adapter": {"auroc_safe": estimate(0.8)}, "baseline_same_rows": {"auroc_safe": estimate(0.7)}}
    moved = {"condition": "US", "mean": 0.01, "largest": 0.02, "direction": "cannot be told"}
    return {
        "baseline": {
            "systems": {
                "permissive": {
                    "rows": 1234,
                    "sources": {
                        "small": {"licence": "MIT", "rows": 34},
                        "large": {"licence": "CC-BY-4.0 (as published, not confirmed)", "rows": 1200},
                    },
                }
            }
        },
        "training": {
            "layout": "compact",
            "examples": 1200,
            "planned_rows": 900,
            "rows": 700,
            "languages": {"en": 500, "de": 400, "es": 0, "fr": 9},
            "languages_left_out": ["it", "sw"],
            "recipe": {
                "lora": {"r": 16, "alpha": 32.0, "targets": ["q_proj", "v_proj"]},
                "optimiser": {"learning_rate": 0.0008},
            },
            "dev": [{"rows": 600, "macro_f1": 0.7654, "auroc_safe": None}],
        },
        "evaluate": {
            "data": "data: 500 rows, made for this test",
            "languages": [
                line("en", 300, adapter=0.8, baseline=0.7),
                line("de", 100, adapter=0.6, baseline=0.65),
                line("es", 29, adapter=0.8, baseline=0.2),
                line("pt", 60, adapter=0.8, baseline=0.2),
                line("fr", 40, adapter=0.9, baseline=0.8, auroc=False),
                line("all", 529, adapter=0.5, baseline=0.7),
            ],
            "sources": [],
            "adapter": judged(),
        },
        "own-rows": judged(),
        "harmless": judged(),
        "transfer": {
            "planned_rows": 1500,
            "sources": [
                {"source": "one", "dev_rows": 600, "systems": systems, "adapter_minus": {"baseline_same_rows": {"auroc_safe": estimate(0.1)}}},
                {"source": "two", "dev_rows": 70, "systems": systems, "adapter_minus": {"baseline_same_rows": {"auroc_safe": estimate(-0.1)}}},
                {"source": "only the baseline", "dev_rows": 60, "systems": {}},
            ],
        },
        "evasion": {
            "copies": 800,
            "stream": "posts.jsonl",
            "without": [{"variant": "all", "differ": share, "slipped": share}],
            "with": [{"variant": "leet"}, {"variant": "all", "differ": {**share, "hits": 1}, "slipped": share}],
        },
        "region-hint": {"texts": [moved], "pairs": [moved]},
        "agreement": {"texts": 60, "texts_from": "rows", "unsafe_mean": 0.001, "unsafe_max": 0.03, "any_max": 0.04, "flips": 2},
    }  # fmt: skip


def section(page: str, title: str) -> str:
    return page.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("mean", "largest", "said"),
    [(0.0099, 0.099, ": kept."), (0.0101, 0.03, "**not kept**"), (0.001, 0.1, "**not kept**")],
)
def test_an_export_beyond_its_bounds_is_said(mean: float, largest: float, said: str) -> None:
    found = {**reports()["agreement"], "unsafe_mean": mean, "unsafe_max": largest}
    assert said in "".join(card_sections.agreement(found))


def test_every_report_has_a_section_with_its_figures() -> None:
    page = model_card.page(reports())
    assert card_sections.NOT_RUN not in page
    assert "| large | CC-BY-4.0 (as published, not confirmed) | 1,200 |" in section(page, "Data")
    assert "licence of `large` is as published, and not confirmed" in section(page, "Data")
    assert "700 of 900 planned rows" in section(page, "Training")
    assert "one severity: it, sw." in section(page, "Training")
    assert "| 600 | 0.765 | – |" in section(page, "Training")
    assert "above the baseline on 1 of 2" in section(page, "Sources that it was not trained on")
    assert "| dev rows: benign look-alikes | 1 | 1.000" in section(page, "Over-blocking")
    assert "| all | 3 | 0.500" in section(page, "Harmless texts in languages without training rows")
    assert "| number | macro-F1 | AUROC |" in section(page, "Our own rows")
    assert "a reason that says one of the label's 1 of 1" in section(page, "Categories and reasons")
    assert "| another action than the original | 3 of 10 | 1 of 10 |" in section(page, "Disguised text")
    assert "US: P(not safe) moves by 0.0100 (at most 0.0200), cannot be told" in section(page, "Region hint")
    assert "0.0010 on average, 0.0300 at most" in page


def test_a_language_is_fit_by_the_rule_alone() -> None:
    lines = {one["language"]: one for one in reports()["evaluate"]["languages"]}
    trained = ["en", "de", "es", "fr"]
    assert {name: card_sections.unfit(one, trained) for name, one in lines.items() if name != "all"} == {
        "en": None,
        "de": "macro-F1 and AUROC below the baseline",
        "es": "fewer than 30 rows",
        "pt": "not trained on",
        "fr": "one side only in dev",
    }
    assert card_sections.unfit(lines["pt"], None) is None
    equal = line("en", 30, adapter=0.7, baseline=0.7)
    assert card_sections.unfit(equal, trained) is None
    equal["adapter"]["auroc_safe"] = estimate(0.75)
    assert card_sections.unfit(equal, trained) == "AUROC below the baseline"


def test_the_card_names_what_is_not_fit_and_judges_no_whole() -> None:
    told = section(model_card.page(reports()), "By language")
    assert "**Not fit for:** de (macro-F1 and AUROC below the baseline); es (fewer than 30 rows)" in told
    (whole,) = [one for one in told.splitlines() if one.startswith("| all |")]
    assert whole.endswith("|  |")
    assert "| en | 300 | 0.800 [0.700, 0.850] | 0.900 [0.800, 0.950] |" in told


@pytest.mark.parametrize("missing", model_card.COMMANDS)
def test_a_missing_report_is_named_and_keeps_no_other_out(missing: str) -> None:
    page = model_card.page({**reports(), missing: None})
    assert f"- {missing}: {model_card.COMMANDS[missing]}" in section(page, "Not run")
    assert "not run." in page.lower()
    kept = {name for name in ("evasion", "baseline") if name != missing}
    assert ("800 disguised copies" in page) == ("evasion" in kept)
    assert ("1,234 training rows" in page) == ("baseline" in kept)


def test_without_any_report_there_is_a_card_that_says_so(tmp_path: Path) -> None:
    out = tmp_path / "card.md"
    assert model_card.main(["--reports", str(tmp_path), "--out", str(out)]) == 0
    page = out.read_text()
    assert page.count(card_sections.NOT_RUN) == 11
    assert all(f"- {name}: " in page for name in model_card.COMMANDS)


def test_a_report_of_another_bundle_than_the_shipped_one_says_so() -> None:
    shipped = Manifest.parse(SMALL.shipped_manifest()).digest
    for digest, said in ((shipped, False), (f"sha256:{'0' * 64}", True)):
        own = {**(reports()["own-rows"] or {}), "judged": {"engine": {"digest": digest}}}
        unrun = section(model_card.page({**reports(), "own-rows": own}), "Not run")
        assert ("- own-rows with the bundle that is shipped now" in unrun) is said


def test_a_report_of_another_form_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"evasion.json is of another form .*make it again with benchmarks/studies/evasion"
    ):
        model_card.page({**reports(), "evasion": {"copies": 1, "without": [], "with": []}})
    (tmp_path / "agreement.json").write_text("{")
    with pytest.raises(SystemExit, match=r"is not JSON; make it again with benchmarks/agreement"):
        model_card.read(tmp_path)


def test_a_training_is_kept_as_a_report(tmp_path: Path) -> None:
    folder, card = tmp_path / "training", tmp_path / "data-card.json"
    folder.mkdir()
    recipe = {**reports()["training"]["recipe"], "base": {"bundle": str(tmp_path)}}
    plan = {"base": "B", "layout": "compact", "examples": 50, "planned_rows": 40, "languages": {"en": 40}, "recipe": recipe}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    log = [
        {"what": "step", "rows": 16, "loss": 2.0},
        {"what": "dev", "rows": 16, "macro_f1": 0.5, "auroc_safe": 0.6, "languages": {}},
        {"what": "step", "rows": 32, "loss": 1.0},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in log))
    balance = {
        "language": {"en": {}, "it": {}, "(not given)": {}},
        "source": {"one": {"train": 45}, "two": {"train": 5}, "dev alone": {"train": 0}},
    }
    sources = [{"source": "one", "licence": "MIT"}, {"source": "two", "licence": None}]
    row = {"source": "two", "licence": "BSD-3-Clause"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    card.write_text(json.dumps({"balance": balance, "sources": sources}))
    arguments = [
        "--reports",
        tmp_path,
        "--out",
        tmp_path / "card.md",
        "--training",
        folder,
        "--data-card",
        card,
    ]
    assert model_card.main([str(one) for one in arguments]) == 0
    kept = json.loads((tmp_path / "training.json").read_text())
    assert (kept["rows"], kept["languages_left_out"]) == (32, ["it"])
    assert kept["dev"] == [{"rows": 16, "macro_f1": 0.5, "auroc_safe": 0.6}]
    page = (tmp_path / "card.md").read_text()
    assert "32 of 40 planned rows" in page
    assert "50 training rows" in section(page, "Data")
    assert "| two | BSD-3-Clause | 5 |" in section(page, "Data")
    assert "dev alone" not in page
    assert "baseline" not in section(page, "Not run")  # its rows are not asked for
    assert str(tmp_path) not in page + json.dumps(kept)
    with pytest.raises(SystemExit, match="name a training's folder"):
        model_card.training(tmp_path / "nowhere", card)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_card_in_docs_is_that_of_the_reports(model: CpuModel) -> None:
    if not model.adapter_folder().is_dir():
        pytest.skip(f"no adapter is shipped for {model.name}")
    made = model_card.page(model_card.read(folder_of(model)), model)
    assert model_card.card_of(model).read_text(encoding="utf-8") == made


def test_a_training_that_began_with_another_adapter_says_so() -> None:
    training = reports()["training"]
    assert "earlier sitting" not in section(model_card.page(reports()), "Training")
    begun = model_card.page({**reports(), "training": {**(training or {}), "begun_from_another": True}})
    assert "earlier sitting" in section(begun, "Training")
