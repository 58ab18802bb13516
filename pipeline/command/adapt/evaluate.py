"""``sluicegate adapt evaluate``: an engine or a training's adapter against labelled rows."""

from __future__ import annotations

import importlib.util
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.labelled_rows import Labelled
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.backends import Backend
from sluicegate.pipeline.command.options import AsJson, CpuModelChoice, CpuModelName, SettingsFile, progress
from sluicegate.pipeline.settings.tree import Settings, variable
from sluicegate.pipeline.text import neutral, neutral_json
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_LIBRARIES = ("numpy", "matplotlib")
_PLAN = "plan.json"  # what a training writes beside its adapters
_COLUMNS = ("accuracy", "macro_f1", "strict_f1", "auroc_safe", "auroc_unsafe", "false_positives")
_SHOWN_LANGUAGES = 30


class EvaluatedEngine(StrEnum):
    """The engines that need nothing but Python."""

    LLAMA_CPP = "llama_cpp"
    FAKE = "fake"


class Explained(StrEnum):
    """Which rows are explained."""

    NONE = "none"
    HARMFUL = "harmful"
    ALL = "all"


def evaluate(  # noqa: PLR0917 - options are parameters
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="ROWS...", help="Labelled JSON lines or CSV, or folders of them: docs/adapt.md."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; one that was begun is gone on with.")
    ],
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of an engine bundle. Default: what the settings say.")
    ] = None,
    engine: Annotated[
        EvaluatedEngine | None, typer.Option(help="Another backend than the settings say.")
    ] = None,
    model: CpuModelChoice = None,
    adapter: Annotated[str | None, typer.Option(help="One of engine.adapters of the settings.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder of a training's adapter, judged in torch. Needs the extra `adapt`."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="For --checkpoint: its recipe. Default: the plan.json beside it.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="For --checkpoint: CPU threads.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Only rows of this split, such as dev or test: any name that rows have."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, help="Judge at most this number of rows, drawn by language, severity and source."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the sample and the intervals.")] = 0,
    explain: Annotated[
        Explained, typer.Option(help="Ask for explanations, of rows found harmful or of all.")
    ] = Explained.NONE,
    explain_rows: Annotated[
        int | None, typer.Option(min=0, help="Ask for at most this number of explanations. They are slow.")
    ] = None,
    hints: Annotated[
        bool, typer.Option("--hints", help="Show the model language and region, as a producer may.")
    ] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Apply the bundle's calibration, as a worker does.")
    ] = False,
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "Evaluation",
    show_text: Annotated[
        bool,
        typer.Option("--show-text", help="Show the worst rows' texts in the report. They may be offensive."),
    ] = False,
    faults: Annotated[
        int, typer.Option(min=0, max=1000, help="Faulty rows listed; the rest is counted.")
    ] = 20,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Judge labelled rows and measure: report.md, evaluation.json, scores.jsonl and plots.

    Every answer is kept as it comes: after a Ctrl-C the same command goes on. A row that fails is counted
    apart, never dropped and never taken for safe. No text is shown or written, unless --show-text asks.

    Example: sluicegate adapt evaluate prepared --split dev --sample 500 --out evaluation
    """
    _require_libraries()
    from sluicegate.engines.adapt.evaluate import labelled_rows, run  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.evaluate.judging import JudgingTerms  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.protocol import LEAST_LABEL_MASS  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - help needs none of it

    if checkpoint is not None and (bundle or engine or adapter or model):
        raise typer.BadParameter("give --checkpoint, or --bundle, --engine, --model and --adapter")
    if model is not None and (bundle or engine is EvaluatedEngine.FAKE):
        raise typer.BadParameter(
            "--model is a bundle of its own, on llama_cpp; leave --bundle and --engine out"
        )
    loaded = load_settings(settings)
    backend = (
        _checkpoint(checkpoint, recipe, threads)
        if checkpoint is not None
        else _served(loaded, bundle, engine, adapter, model)
    )
    wanted_split = None if split is None else split.strip().casefold()
    labelled = labelled_rows.read_labelled(inputs, split=wanted_split, categories=backend.categories)
    _show_faults(labelled, faults)
    terms = JudgingTerms(
        score_timeout_s=loaded.engine.score_timeout_s,
        explain_timeout_s=loaded.engine.explain_timeout_s,
        most_tokens=loaded.limits.post_tokens,
        most_segments=loaded.limits.segments,
        least_label_mass=LEAST_LABEL_MASS,
        hints=hints,
        calibrated=calibrated,
        explain=explain.value,
        explain_rows=explain_rows,
        seed=seed,
    )
    wanted = run.WantedEvaluation(
        sample=sample,
        seed=seed,
        split=wanted_split,
        title=title,
        show_text=show_text,
    )
    with progress(sys.stderr) as advance:
        document = run.evaluate(labelled, backend, out, terms, wanted, advance)
    if as_json:
        typer.echo(neutral_json(orjson.dumps(document).decode()))
        return
    for line in _told(document, out):
        typer.echo(line)


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise EvaluationError(f"{missing[0]} is missing: pip install 'sluicegate[evaluate]'")


def _served(
    settings: Settings,
    bundle: Path | None,
    engine: EvaluatedEngine | None,
    adapter: str | None,
    model: CpuModelName | None,
) -> Backend:
    from sluicegate.engines.backends import open_backend  # noqa: PLC0415 - help needs none of these
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.engine_choice import engine_choice  # noqa: PLC0415 - the same

    changed: dict[str, Any] = {} if engine is None else {"backend": engine.value}
    if bundle is not None:
        changed |= {"bundle": bundle, "digest": None}  # a pin is for the bundle of the settings
    if model is not None:
        changed |= {"backend": "llama_cpp", "model": model.value, "bundle": None, "digest": None}
    configure_logs("error")
    return open_backend(engine_choice(settings.engine.model_copy(update=changed), adapter))


def _checkpoint(folder: Path, recipe: Path | None, threads: int | None) -> Backend:
    from sluicegate.engines.adapt.train.recipe import TrainingRecipe  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.adapt.train.run import require_libraries  # noqa: PLC0415 - the same

    require_libraries()
    wanted = TrainingRecipe.load(recipe) if recipe else _recipe_of(folder.parent / _PLAN)
    from sluicegate.engines.adapt.evaluate.checkpoint import open_checkpoint  # noqa: PLC0415 - loads torch

    return open_checkpoint(wanted, folder, threads=threads)


def _recipe_of(plan: Path) -> TrainingRecipe:
    from sluicegate.engines.adapt.train.recipe import TrainingRecipe  # noqa: PLC0415 - loads the tokenizer

    try:
        return TrainingRecipe.model_validate(orjson.loads(plan.read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EvaluationError(f"{plan} holds no recipe; name that of the training with --recipe") from None


def _show_faults(labelled: Labelled, limit: int) -> None:
    for one in labelled.faults[:limit]:
        typer.echo(neutral(one.sentence, limit=400), err=True)
    if labelled.faulty_rows:
        typer.echo(f"{labelled.faulty_rows:,} faulty rows are left out", err=True)
    if labelled.repeated_rows:
        typer.echo(
            f"{labelled.repeated_rows:,} rows have an id that stood before, and are left out", err=True
        )


def _how_to_fill(failed: Mapping[str, int]) -> str:
    """Why rows have no score, and what to do about it."""
    codes = ", ".join(f"{neutral(code)} {count:,}" for code, count in failed.items())
    fixes = ["run the same command again: it asks for these rows alone"]
    if FailureCode.TIMED_OUT in failed:
        fixes.append(f"if they time out again, raise {variable('engine', 'score_timeout_s')}")
    if FailureCode.TOO_LONG in failed:
        fixes.append("a row that is too_long stays so")
    return f"failed: {codes}; {'; '.join(fixes)}"


def _told(document: Mapping[str, Any], out: Path) -> Iterator[str]:
    """The evaluation for people, in short."""
    from sluicegate.engines.adapt.evaluate.report import SAID, shown  # noqa: PLC0415 - an extra

    failed = sum(document["failed"].values())
    engine = document["judged"]["engine"]
    yield (
        f"{document['rows']:,} rows by {neutral(engine['model'])}, adapter {neutral(str(engine['adapter']))}, "
        f"backend {engine['backend']}: {document['rows'] - failed:,} judged, {failed:,} failed"
    )
    if failed:
        yield _how_to_fill(document["failed"])
    yield ""
    for name, (said, _) in SAID.items():
        if name in document["measures"]:
            yield f"{said:16} {shown(document['measures'][name])}"
    yield ""
    yield f"{'language':12}{'rows':>8}" + "".join(f"{SAID[one][0]:>24}" for one in _COLUMNS)
    groups = document["by"]["language"]
    for name, group in list(groups.items())[:_SHOWN_LANGUAGES]:
        cells = "".join(f"{shown(group['measures'].get(one)):>24}" for one in _COLUMNS)
        yield f"{neutral(name, limit=11):12}{group['rows']:>8,}{cells}"
    if len(groups) > _SHOWN_LANGUAGES:
        yield f"and {len(groups) - _SHOWN_LANGUAGES} more: see the report"
    yield ""
    yield f"written to {out}: report.md, evaluation.json, scores.jsonl and plots"
