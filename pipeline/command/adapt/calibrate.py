"""``sluicegate adapt calibrate``: from an evaluation to scores that keep their word, and thresholds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import CalibrationError
from sluicegate.engines.bundle import Calibration
from sluicegate.engines.files import replace_file
from sluicegate.pipeline.command.options import AsJson, progress
from sluicegate.pipeline.text import neutral, neutral_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_LIBRARIES = ("numpy", "matplotlib")
_TARGET = 0.01
_MOST_AIMS = 16  # two thresholds each


def calibrate(  # noqa: PLR0917 - options are parameters
    evaluation: Annotated[
        Path,
        typer.Argument(metavar="EVALUATION", help="Folder of `adapt evaluate`, of rows that did not train."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="The calibration, such as calibration.json; report and picture beside it."
        ),
    ],
    target_fpr: Annotated[
        list[float] | None,
        typer.Option(
            min=0.0001,
            max=0.5,
            help="Thresholds at this share of false positives. Repeatable. Default: 0.01.",
        ),
    ] = None,
    cost: Annotated[
        list[float] | None,
        typer.Option(
            min=0.001,
            max=1000,
            help="Thresholds where a false positive costs this number of missed rows. Repeatable.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle that was evaluated; written again, to --bundle-out.")
    ] = None,
    bundle_out: Annotated[
        Path | None, typer.Option(help="Folder for the bundle with the calibration; missing or empty.")
    ] = None,
    language_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="zh,ja,ko", help="Languages to calibrate as one. Repeatable. Default: each alone."
        ),
    ] = None,
    minimum_rows: Annotated[
        int,
        typer.Option(min=20, help="A kind or a language needs this many rows to be calibrated by itself."),
    ] = 200,
    seed: Annotated[int, typer.Option(help="The seed of the folds and the intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit temperatures or isotonic lines to an evaluation's scores, and choose thresholds.

    Each kind, and each language of a kind, gets a method of its own if it has enough rows and is surely better
    off; else it has that of its kind, or of all rows. The report shows rows that were left out of the fit.

    Example: sluicegate adapt calibrate evaluation --out calibration.json --target-fpr 0.01
    """
    if out.suffix != ".json":
        raise typer.BadParameter(
            "--out is a JSON file, such as calibration.json; report and picture go beside it"
        )
    if (bundle is None) != (bundle_out is None):
        raise typer.BadParameter("give both of --bundle and --bundle-out, or neither")
    languages = _language_groups(language_group or [])
    _require_libraries()
    from sluicegate.engines.adapt.calibrate import grouping  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.calibrate.calibrate import calibrate as fitted  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.calibrate.fitting import Aims  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.evaluate.scored import read_evaluated  # noqa: PLC0415 - the same

    rates = target_fpr or ([] if cost else [_TARGET])
    aims = Aims(tuple(dict.fromkeys(rates)), tuple(dict.fromkeys(cost or [])))
    if len(aims.names()) > 2 * _MOST_AIMS:
        raise typer.BadParameter(f"--target-fpr and --cost: at most {_MOST_AIMS} together")
    evaluated = read_evaluated(evaluation)
    _make_folder(out)
    terms = grouping.GroupingTerms(aims, minimum_rows=minimum_rows, language_groups=languages, seed=seed)
    with progress(sys.stderr) as advance:
        calibration, document = fitted(evaluated, terms, advance)
    content = _write(calibration, document, out)
    if bundle is not None and bundle_out is not None:
        from sluicegate.engines.adapt.calibrate.calibrate import with_calibration  # noqa: PLC0415 - the tokenizer

        written = with_calibration(bundle, bundle_out, content, evaluated.judged.engine)
        document["bundle"] = {"path": str(bundle_out), "digest": written.digest}
    if as_json:
        typer.echo(neutral_json(orjson.dumps(document).decode()))
        return
    for line in _told(document, out):
        typer.echo(line)


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise CalibrationError(f"{missing[0]} is missing: pip install 'sluicegate[evaluate]'")


def _language_groups(given: list[str]) -> tuple[tuple[str, ...], ...]:
    groups = tuple(tuple(name.strip().lower() for name in one.split(",")) for one in given)
    names = [name for group in groups for name in group]
    if any(not (2 <= len(name) <= 8 and name.isascii() and name.isalpha()) for name in names):
        raise typer.BadParameter("--language-group: languages without script or region, such as zh,ja,ko")
    if len({*names}) != len(names):
        raise typer.BadParameter("--language-group: a language is in one group; name it once")
    return groups


def _make_folder(out: Path) -> None:
    """Before minutes of work, not after them."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CalibrationError(f"{out} cannot be written ({error.strerror}); give another --out") from error


def _write(calibration: Calibration, document: Mapping[str, Any], out: Path) -> bytes:
    """Write calibration, report and picture; what was written is read again first, as a worker reads it."""
    from sluicegate.engines.adapt.calibrate import report  # noqa: PLC0415 - an extra
    from sluicegate.engines.bundle import Calibration  # noqa: PLC0415 - help needs none of it

    content = calibration.content()
    Calibration.parse(content, str(out))
    picture = out.with_suffix(".png")
    try:
        report.draw(document, picture)
        out.with_suffix(".md").write_text(report.page(document, picture.name), encoding="utf-8")
        replace_file(out, content)
    except OSError as error:
        raise CalibrationError(f"{out} cannot be written ({error.strerror}); give another --out") from error
    return content


def _told(document: Mapping[str, Any], out: Path) -> Iterator[str]:
    """The report for people, in short."""
    from sluicegate.engines.adapt.calibrate.fitting import INHERITED  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.calibrate.report import group_name, method_said  # noqa: PLC0415 - the same

    yield f"{document['rows']:,} rows, {document['failed']:,} more failed; {document['folds']} folds held out in turn"
    for name, said in (("ece", "ECE"), ("log_loss", "log loss")):
        before, after = (document[when][name]["value"] for when in ("before", "held_out"))
        yield f"{said:10}{before:.3f} before, {after:.3f} held out"
    yield f"{'all rows':32}{method_said(document['fallback'])}"
    for one in document["groups"]:
        if one["method"] != INHERITED:
            yield f"{neutral(group_name(one), limit=31):32}{method_said(one)}"
    for name, one in document["thresholds"].items():
        if one is None:
            yield f"{name}: too few rows to tell"
            continue
        held = one["held_out"]
        rest = (
            ""
            if held is None
            else f"; held out {held['false_positive_rate']:.3f}, recall {held['recall']:.3f}"
        )
        yield (
            f"{name}: {one['value']:.6f}, false positives {one['false_positive_rate']:.3f}, "
            f"recall {one['recall']:.3f}{rest}"
        )
    yield f"written to {neutral(str(out))}, {out.with_suffix('.md').name} and {out.with_suffix('.png').name}"
    if "bundle" in document:
        yield f"written: {neutral(document['bundle']['path'])}; digest {document['bundle']['digest']}"
