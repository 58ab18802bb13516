"""Pairing: two evaluations of the same rows, or a sentence that says what is not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.adapt.gate.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.evaluated import Evaluated

_LABEL = ("source", "kind", "severity", "language", "categories", "region", "group", "refusal")
"""What both must say of a row."""
_TERMS = ("hints", "most_tokens", "most_segments")
"""What changes scores and is no property of the model; a calibration is one."""


def require_same_rows(new: Evaluated, current: Evaluated) -> None:
    """Refuse evaluations that cannot be compared row by row.

    Raises:
        GateError: What differs, where, and the fix; ids of rows at most.
    """
    _require_same_ids(new, current)
    for one, other in zip(new.rows, current.rows, strict=True):
        for field in _LABEL:
            if getattr(one, field) != getattr(other, field):
                raise GateError(
                    f"the row {one.id!a} has another {field} in {new.folder} than in {current.folder}; "
                    "evaluate both models on the same files"
                )
    if new.judged.rows_digest != current.judged.rows_digest:
        raise GateError(
            f"{new.folder} and {current.folder} have the same ids and labels, but judged.rows_digest differs: "
            "the texts are not the same; evaluate both models on the same files"
        )
    for term in _TERMS:
        found, before = getattr(new.judged.terms, term), getattr(current.judged.terms, term)
        if found != before:
            raise GateError(
                f"judged.terms.{term} is {found} in {new.folder} and {before} in {current.folder}; "
                "evaluate both models with the same options and settings"
            )
    if not (new.judged.is_held_out and current.judged.is_held_out):
        raise GateError(
            f"{new.folder}: rows of the split that trains are among these, which a model knows by heart; "
            "evaluate both models with --split dev"
        )
    if _model(new) == _model(current):
        raise GateError(
            f"{new.folder} and {current.folder} are of the same model ({new.judged.engine.digest[:80]}); "
            "give --current the evaluation of the one in service"
        )


def _require_same_ids(new: Evaluated, current: Evaluated) -> None:
    of_new, of_current = ({row.id for row in one.rows} for one in (new, current))
    if of_new == of_current:
        return
    said = [
        _only_in(folder, sorted(ids))
        for folder, ids in ((new.folder, of_new - of_current), (current.folder, of_current - of_new))
        if ids
    ]
    raise GateError(
        f"the rows are not the same: {' and '.join(said)}; evaluate both models on the same files, with the same "
        "--split, --sample and --seed"
    )


def _only_in(folder: Path, ids: Sequence[str]) -> str:
    return f"{len(ids):,} only in {folder} (such as {ids[0]!a})"


def _model(one: Evaluated) -> tuple[object, ...]:
    engine = one.judged.engine
    return engine.backend, engine.digest, engine.adapter, one.judged.terms.calibrated
