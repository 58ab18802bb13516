"""The door: from an evaluation to a calibration, and what it does to rows that it was not fitted on."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from sluicegate.engines.adapt.calibrate.fitting import fold_numbers, sides
from sluicegate.engines.adapt.calibrate.grouping import Fitted, GroupingTerms, applied, fit, members
from sluicegate.engines.adapt.errors import CalibrationError
from sluicegate.engines.adapt.evaluate.evaluation import reliability
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows, estimates
from sluicegate.engines.adapt.evaluate.scored import Evaluated, JudgedEngine, ScoredRow
from sluicegate.engines.bundle import (
    CALIBRATION,
    MANIFEST,
    Bundle,
    BundleFile,
    Calibration,
    Group,
    Thresholds,
    file_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SCHEMA: Final = "1.0"
SHOWN: Final = ("ece", "log_loss", "brier", "macro_f1", "auroc_safe", "auroc_unsafe")
"""What is measured before and after: the first three are to fall, the others not to."""

_LEAST_ROWS = 50
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LEAST_OF_A_SIDE = 10


def calibrate(
    evaluated: Evaluated, terms: GroupingTerms, advance: Callable[[str, int, int], None] = lambda *_: None
) -> tuple[Calibration, dict[str, Any]]:
    """Fit a calibration, and measure what one that is fitted without a row's fold does to that row.

    The whole procedure, choice of methods and thresholds included, is done again for each fold: what is
    reported of held-out rows owes nothing to them.

    Args:
        evaluated: Raw scores of rows that did not train the model.
        terms: How.
        advance: Called with a stage, steps done and in all.

    Returns:
        The calibration, and the report.

    Raises:
        CalibrationError: The evaluation cannot be calibrated on.
    """
    rows = _usable(evaluated)
    folds = fold_numbers(rows, seed=terms.seed, folds=terms.folds)
    fitted = fit(rows, terms)
    advance("fitting", 1, terms.folds + 1)
    probabilities = np.array([row.probabilities for row in rows])
    without: dict[int, Calibration] = {}
    # A group that just has enough rows must not be lost where a fold is left out.
    smaller = replace(terms, minimum_rows=max(1, int(terms.minimum_rows * (1 - 1.5 / terms.folds))))
    for done, fold in enumerate(np.unique(folds).tolist(), start=2):
        without[fold] = fit(
            [row for row, of in zip(rows, folds, strict=True) if of != fold], smaller
        ).calibration
        held_out = np.flatnonzero(folds == fold)
        probabilities[held_out] = applied(without[fold], [rows[at] for at in held_out])
        advance("fitting", done, terms.folds + 1)
    after = [
        replace(row, probabilities=tuple(three))
        for row, three in zip(rows, probabilities.tolist(), strict=True)
    ]
    of_rows = [without[fold] for fold in folds.tolist()]
    engine = evaluated.judged.engine
    digests = tuple(one for one in (engine.digest, engine.adapter) if one and _DIGEST.fullmatch(one))
    calibration = fitted.calibration.model_copy(update={"of": digests})
    return calibration, _report(evaluated, terms, fitted, rows, after, of_rows)


def _usable(evaluated: Evaluated) -> list[ScoredRow]:
    judged = evaluated.judged
    if judged.terms.calibrated:
        raise CalibrationError(
            f"{evaluated.folder}: these scores are calibrated already; evaluate without --calibrated"
        )
    if not judged.is_held_out:
        raise CalibrationError(
            f"{evaluated.folder}: rows of the split that trains are among these, and the model is surer of them "
            "than of others; evaluate with --split dev"
        )
    rows = [row for row in evaluated.rows if row.probabilities is not None]
    harmful = sum(row.severity != "safe" for row in rows)
    if len(rows) < _LEAST_ROWS or min(harmful, len(rows) - harmful) < _LEAST_OF_A_SIDE:
        raise CalibrationError(
            f"{evaluated.folder}: {len(rows):,} rows with scores, {harmful:,} of them harmful; evaluate at least "
            f"{_LEAST_ROWS}, {_LEAST_OF_A_SIDE} of them harmful and {_LEAST_OF_A_SIDE} safe"
        )
    return rows


def _report(
    evaluated: Evaluated,
    terms: GroupingTerms,
    fitted: Fitted,
    rows: Sequence[ScoredRow],
    after: Sequence[ScoredRow],
    of_rows: Sequence[Calibration],
) -> dict[str, Any]:
    calibration = fitted.calibration
    return {
        "schema_version": SCHEMA,
        "rows": len(rows),
        "failed": len(evaluated.rows) - len(rows),
        "rows_digest": evaluated.judged.rows_digest,
        "data": calibration.data,
        "judged": {"engine": evaluated.judged.engine.model_dump()},
        "split": evaluated.judged.split,
        "folds": terms.folds,
        "seed": terms.seed,
        "minimum_rows": terms.minimum_rows,
        "before": _measures(rows, terms),
        "held_out": _measures(after, terms),
        "reliability": {"before": reliability(rows), "held_out": reliability(after)},
        "fallback": {"method": fitted.fallback_method, **_mapping(calibration.fallback)},
        "thresholds": _thresholds(terms, calibration.thresholds, after, [one.thresholds for one in of_rows]),
        "groups": [
            _group(terms, group, method, rows, after, of_rows)
            for group, method in zip(calibration.groups, fitted.methods, strict=True)
        ],
    }


def _group(
    terms: GroupingTerms,
    group: Group,
    method: str,
    rows: Sequence[ScoredRow],
    after: Sequence[ScoredRow],
    of_rows: Sequence[Calibration],
) -> dict[str, Any]:
    at = members(group, rows).tolist()
    key = (group.kind, group.languages)
    held: list[Thresholds] = []
    for number in at:
        ones = [one for one in of_rows[number].groups if (one.kind, one.languages) == key]
        held.append(ones[0].thresholds if ones else {})
    return {
        "kind": group.kind,
        "languages": list(group.languages),
        "rows": len(at),
        "fitted_on": group.rows,
        "method": method,
        **_mapping(group.mapping),
        "before": _values([rows[number] for number in at]),
        "held_out": _values([after[number] for number in at]),
        "thresholds": _thresholds(terms, group.thresholds, [after[number] for number in at], held),
    }


def _mapping(mapping: Any) -> dict[str, Any]:
    if mapping.method == "temperature":
        return {"temperature": round(mapping.temperature, 4)}
    return {"knots": {"risk": len(mapping.risk), "unsafe": len(mapping.unsafe)}}


def _measures(rows: Sequence[ScoredRow], terms: GroupingTerms) -> dict[str, Any]:
    found = estimates(rows, seed=terms.seed, measures={name: MEASURES[name] for name in SHOWN})
    return {name: one.document() for name, one in found.items()}


def _values(rows: Sequence[ScoredRow]) -> dict[str, float]:
    """Of a group: values alone, for its intervals would say that it is small."""
    judged, whole = MeasuredRows.of(rows), np.ones((1, len(rows)))
    values = {name: float(MEASURES[name](judged, whole)[0]) for name in SHOWN}
    return {name: round(value, 5) for name, value in values.items() if not np.isnan(value)}


def _thresholds(
    terms: GroupingTerms, chosen: Thresholds, after: Sequence[ScoredRow], held: Sequence[Thresholds]
) -> dict[str, Any]:
    """Every threshold that is wanted; None for one that the rows cannot tell."""
    found: dict[str, Any] = {}
    for name in terms.aims.names():
        one = chosen.get(name)
        found[name] = None
        if one is not None:
            found[name] = {
                **{key: _rounded(value) for key, value in one.model_dump().items()},
                "held_out": _held_out(name, one.measure, after, held),
            }
    return found


def _held_out(
    name: str, measure: str, after: Sequence[ScoredRow], held: Sequence[Thresholds]
) -> dict[str, float] | None:
    """What the thresholds of the folds do to the rows left out; None if a fold could not tell one."""
    values = [one[name].value for one in held if name in one]
    if len(values) < len(after):
        return None
    scores, positive = sides(MeasuredRows.of(after), measure)
    if positive.all() or not positive.any():
        return None
    reached = scores >= np.array(values)
    return {
        "false_positive_rate": _rounded(float(reached[~positive].mean())),
        "recall": _rounded(float(reached[positive].mean())),
    }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def with_calibration(source: Path, target: Path, content: bytes, engine: JudgedEngine) -> Bundle:
    """Write a bundle again, with this calibration in place of what it had.

    Files are linked where the file system can, so that gigabytes of weights are not copied.

    Args:
        source: The bundle whose scores were calibrated.
        target: Folder of the new one; missing or empty.
        content: Of ``calibration.json``.
        engine: Who gave the scores.

    Raises:
        CalibrationError: The scores are not this bundle's, or the folder cannot be written.
        BundleError: The bundle is damaged.
    """
    bundle = Bundle.open(source, verify=False)
    manifest = bundle.manifest
    adapter = manifest.adapter.digest if manifest.adapter else None
    if engine.digest != bundle.digest and (adapter is None or engine.adapter != adapter):
        raise CalibrationError(
            f"--bundle: the scores are of {engine.digest[:80]}, and {source} is {bundle.digest}; evaluate this bundle"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CalibrationError(f"{target} is there and not an empty folder; choose another --bundle-out")
    kept = {role: entry for role, entry in manifest.files.items() if role != "calibration"}
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as temporary:
            folder = Path(temporary) / "bundle"
            folder.mkdir(mode=0o755)
            for path in dict.fromkeys(entry.path for entry in kept.values()):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _link(source / path, folder / path)
            with (folder / CALIBRATION).open("xb") as stream:  # never into a file that is linked
                stream.write(content)
            changed = {"calibration": CALIBRATION}
            if "gate" in kept:
                gate = folder / kept["gate"].path
                told = _calibrated_since(gate.read_bytes(), file_digest(folder / CALIBRATION))
                gate.unlink()
                gate.write_bytes(told)
                changed["gate"] = kept["gate"].path
            entries = {
                role: BundleFile(
                    path=path, sha256=file_digest(folder / path), bytes=(folder / path).stat().st_size
                )
                for role, path in changed.items()
            }
            new = manifest.model_copy(update={"files": {**kept, **entries}})
            document = orjson.dumps(new.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
            (folder / MANIFEST).write_bytes(document)
            Bundle.open(folder)
            if target.is_dir():
                target.rmdir()
            folder.rename(target)
    except OSError as error:
        raise CalibrationError(
            f"{target} cannot be written ({error.strerror}); choose another --bundle-out"
        ) from error
    return Bundle.open(target, verify=False)


def _calibrated_since(gate: bytes, digest: str) -> bytes:
    """The gate's report with what it does not know: the scores that it compared were others."""
    return (
        orjson.dumps({**orjson.loads(gate), "calibrated_since": digest}, option=orjson.OPT_INDENT_2) + b"\n"
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
