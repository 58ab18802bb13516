"""The model card of a shipped adapter, made from the reports.

    python benchmarks/model_card [--model smollm2-135m] [--reports benchmarks/reports] [--out docs/model-card.md]
                                    [--training FOLDER --data-card prepared/data-card.json]

Every figure comes from a report's JSON; a report that is missing says so in its place. --training is the folder of a
training: what the card needs of its plan, its log and the rows' data card is kept as training.json beside the reports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model_card import report as card_sections
from model_card.report import NOT_RUN, SHOWN
from shared.report import ROOT, folder_of, options
from sluicegate.engines.bundle import Manifest
from sluicegate.engines.cpu_model.models import MODELS, MULTILINGUAL, SMALL, CpuModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COMMANDS: Final = {
    "training": "benchmarks/model_card --training FOLDER --data-card FILE",
    "baseline": "benchmarks/baselines/train.py",
    "evaluate": "make evaluate DATA=FOLDER REPORT=benchmarks/reports",
    "own-rows": "sluicegate adapt evaluate, its evaluation.json",
    "harmless": "sluicegate adapt evaluate benchmarks/shipped_adapter/harmless.jsonl --split dev, its evaluation.json",
    "transfer": "benchmarks/studies/transfer",
    "evasion": "benchmarks/studies/evasion",
    "region-hint": "benchmarks/studies/region_hint",
    "agreement": "benchmarks/agreement",
}
"""Reports by name, and what makes each."""

ENGINES: Final = {
    "evaluate": ("adapter", "engine", "digest"),
    "own-rows": ("judged", "engine", "digest"),
    "harmless": ("judged", "engine", "digest"),
    "evasion": ("engine", "digest"),
    "region-hint": ("digest",),
}
"""Where a report names the bundle that it is of."""

Reports = dict[str, dict[str, Any] | None]

_FIRST = """\
# Model card: {name}

<!-- Made by benchmarks/model_card from benchmarks/reports; change it there. -->

A LoRA adapter on {base} (Apache-2.0), which `{fetch}` merges into the base and writes
as Q8_0. It judges posts, prompts and responses as safe, controversial or unsafe on any CPU.

**Intended use:** the demo, tests, and a first look at one's own rows. It is a small model with little training:
adapt it, or a larger one, on your own rows, and evaluate that before anything is decided about people.
**Not intended:** to take down posts without a person; languages named below as not fit; legal, medical or crisis
decisions."""
_BASES: Final = {
    SMALL.name: ("the shipped CPU adapter", "SmolLM2-135M-Instruct"),
    MULTILINGUAL.name: ("the adapter of the multilingual CPU model", "Qwen2.5-Coder-0.5B-Instruct"),
}
"""Of each model: what its adapter is called, and the base's own name."""

_LIMITS = """\
- The labels are those of public collections, whose annotators disagree; severity shares are made by sampling.
  Calibrate on your own traffic.
- Most harmful rows are hate and offence. Jailbreaks, personal data, copyright, self-harm and politics are too rare to
  have been learnt well.
- Tweets collected by keywords over-represent slurs. Dialects, African American English above all, are over-labelled
  as offensive: expect more false positives there.
- Some sources give the class away by style: fraud and health rumours written by a model, news by agencies. False
  claims cannot be told from true ones by the text; such rows are controversial at most.
- Responses were learnt from a few hundred rows of our own, regions from a few dozen.
- The context of a post, images and links are not seen."""


def card_of(model: CpuModel) -> Path:
    """Where the card of a model's adapter stands."""
    return ROOT / "docs" / ("model-card.md" if model == SMALL else f"model-card-{model.name}.md")


def read(folder: Path) -> Reports:
    """Every report; None for one that is not there.

    Raises:
        SystemExit: A report is not JSON.
    """
    found: Reports = {}
    for name in COMMANDS:
        path = folder / f"{name}.json"
        try:
            found[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except ValueError:
            raise SystemExit(f"{path} is not JSON; make it again with {COMMANDS[name]}") from None
    return found


def training(folder: Path, data_card: Path) -> dict[str, Any]:
    """What the card needs of a training: from its plan, its log, and the data card of its rows.

    Raises:
        SystemExit: A file is missing or not as it was written.
    """
    try:
        plan = json.loads((folder / "plan.json").read_bytes())
        log = [json.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
        card = json.loads(data_card.read_bytes())
        known = card["balance"]["language"]
        steps = [one for one in log if one["what"] == "step"]
        measured = [one for one in log if one["what"] == "dev"]
        return {
            **{name: plan[name] for name in ("base", "layout", "examples", "planned_rows", "languages")},
            "recipe": {name: plan["recipe"][name] for name in ("lora", "optimiser")},
            "begun_from_another": bool(plan["recipe"].get("start_from")),
            "languages_left_out": sorted({*known} - {*plan["languages"], "(not given)"}),
            "one_sided_kept": plan["recipe"].get("data", {}).get("one_sided_languages") == "keep",
            "data": _sources(card, data_card.with_name("train.jsonl")),
            "rows": max((one["rows"] for one in steps), default=0),
            "dev": [{name: one.get(name) for name in ("rows", *SHOWN)} for one in measured],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{folder} and {data_card}: {type(error).__name__}: {error}; name a training's folder and its rows' data-card.json"
        ) from None


def _sources(card: dict[str, Any], rows: Path) -> dict[str, Any]:
    """Rows and licence of each source that has training rows: as the data card tells, or else its rows themselves."""
    licences = {one["source"]: one["licence"] for one in card["sources"]}
    if None in licences.values():
        for line in rows.read_bytes().splitlines():
            row = json.loads(line)
            if licences.get(row["source"]) is None:
                licences[row["source"]] = row["licence"]
    found = {
        name: {"licence": licences[name], "rows": one["train"]}
        for name, one in card["balance"]["source"].items()
        if one["train"]
    }
    return {"rows": sum(one["rows"] for one in found.values()), "sources": found}


def page(reports: Reports, model: CpuModel = SMALL) -> str:
    """The card.

    Args:
        reports: By name.
        model: Whose adapter it is about.

    Raises:
        SystemExit: A report is of another form.
    """
    trained, own = reports["training"], reports["own-rows"]
    # A training that tells its rows is believed; the baseline was trained on those of the small model.
    own_rows = trained is not None and "data" in trained
    rows_from = "training" if own_rows else "baseline"
    sections: tuple[tuple[str, str, Callable[..., Iterator[str]]], ...] = (
        (
            "Data",
            rows_from,
            lambda one: card_sections.data(one["data"] if own_rows else one["systems"]["permissive"]),
        ),
        ("Training", "training", card_sections.training),
        ("By language", "evaluate", lambda one: card_sections.languages(one, trained)),
        ("Sources that it was not trained on", "transfer", card_sections.transfer),
        ("Over-blocking", "evaluate", lambda one: card_sections.over_blocking(one, own)),
        ("Harmless texts in languages without training rows", "harmless", card_sections.harmless),
        ("Our own rows", "own-rows", card_sections.own_pairs),
        ("Categories and reasons", "evaluate", lambda one: card_sections.explanations(one, own)),
        ("Disguised text", "evasion", card_sections.evasion),
        ("Region hint", "region-hint", card_sections.region),
        ("The exported model against the trained one", "agreement", card_sections.agreement),
    )
    name, base = _BASES[model.name]
    parts = [_FIRST.format(name=name, base=base, fetch=model.fetch_command)]
    for title, name, told in sections:
        report = reports[name]
        try:
            said = [NOT_RUN] if report is None else list(told(report))
        except (KeyError, TypeError, IndexError) as error:
            raise SystemExit(
                f"{name}.json is of another form ({type(error).__name__}: {error}); make it again with {COMMANDS[name]}"
            ) from error
        parts += [f"## {title}", *said]
    shipped = Manifest.parse(model.shipped_manifest()).digest
    missing = [
        f"- {name}: {COMMANDS[name]}"
        for name, one in reports.items()
        if one is None and not (name == "baseline" and own_rows)
    ]
    missing += [
        f"- {name} with the bundle that is shipped now: the figures are of one before it: {COMMANDS[name]}"
        for name in ENGINES
        if _bundle(reports, name) not in (None, shipped)
    ]
    unrun = ["- anything on a GPU", "- the same adapter on Qwen3Guard: docs/adapt.md has the commands"]
    parts += ["## Limits", _LIMITS, "## Not run", "\n".join([*missing, *unrun])]
    return "\n\n".join(parts) + "\n"


def _bundle(reports: Reports, name: str) -> str | None:
    """Digest of the bundle that a report is of, where it says so."""
    found: Any = reports[name]
    for key in ENGINES[name]:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def main(arguments: Sequence[str]) -> int:
    """Keep a training's facts if they are given; then make the card."""
    parser = options(__doc__)
    parser.add_argument("--model", choices=list(MODELS), default=SMALL.name, help="the CPU model")
    parser.add_argument("--reports", type=Path, help="folder of the reports; default: benchmarks/reports")
    parser.add_argument("--training", type=Path, help="folder that `sluicegate adapt train` wrote")
    parser.add_argument("--data-card", type=Path, help="data-card.json of the rows that it trained on")
    parser.add_argument("--out", type=Path, help="the card; default: docs/model-card.md")
    given = parser.parse_args(arguments)
    if (given.training is None) != (given.data_card is None):
        parser.error("give --training and --data-card together")
    model = MODELS[given.model]
    folder = given.reports or folder_of(model)
    if given.training:
        kept = json.dumps(training(given.training, given.data_card), indent=1, ensure_ascii=False)
        (folder / "training.json").write_text(kept + "\n", encoding="utf-8")
    (given.out or card_of(model)).write_text(page(read(folder), model), encoding="utf-8")
    return 0
