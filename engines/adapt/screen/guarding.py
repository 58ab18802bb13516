"""Measuring a small guard: from its evaluation to what its answers are worth, by language and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.evaluate.labelled_rows import rows_digest
from sluicegate.engines.adapt.evaluate.scored import Evaluated
from sluicegate.engines.adapt.screen.grouping import MINIMUM_ROWS, Grouped, HeldOut, grouped
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen import GUARD, GuardManifest
from sluicegate.engines.text.forms import fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def measured(
    evaluated: Evaluated, rows: Sequence[Row], name: str, *, minimum_rows: int = MINIMUM_ROWS
) -> tuple[GuardManifest, list[Grouped]]:
    """What a small guard's scores are worth, and what became of each kind and language.

    Args:
        evaluated: The small guard on these rows, not calibrated, without hints. A row that it failed on counts for nothing.
        rows: With their texts.
        name: Of the screen.
        minimum_rows: Rows that a kind and language needs.

    Raises:
        ScreenError: The evaluation is of other rows, of rows that trained, calibrated or with hints; or no group is left.
    """
    judged = evaluated.judged
    if judged.rows_digest != rows_digest(rows):
        raise ScreenError(
            f"{evaluated.folder}: the evaluation is of other rows; give the file that `adapt evaluate` was given"
        )
    if judged.terms.calibrated or judged.terms.hints or not judged.is_held_out:
        raise ScreenError(
            f"{evaluated.folder}: a guard is measured on rows that did not train it, by its own scores, and as a worker "
            "asks it: evaluate with --split dev, and without --calibrated and --hints"
        )
    scores = {one.id: one.probabilities for one in evaluated.rows if one.probabilities is not None}
    held_out = [
        HeldOut(row, scores[row.id])
        for row in rows
        # The large guard reads what has a folded form.
        if row.id in scores and row.language is not None and not fold(row.text).differs
    ]
    found = grouped(held_out, minimum_rows=minimum_rows)
    groups = tuple(one.group for one in found if one.group is not None)
    if not groups:
        raise ScreenError(f"{evaluated.folder}: no kind and language has rows enough that it is sure of")
    manifest = GuardManifest(
        name=name,
        guard=judged.engine.digest,
        backend=judged.engine.backend,
        data=judged.rows_digest,
        rows=len(held_out),
        groups=groups,
    )
    return manifest, found


def write(manifest: GuardManifest, folder: Path, *, overwrite: bool) -> None:
    """Write the folder.

    Raises:
        ScreenError: There is something in it, or it cannot be written.
    """
    path = folder / GUARD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (overwrite and path.is_file()):
            raise ScreenError(
                f"{folder} is not empty; give another --out, or --overwrite for a small guard's"
            )
        path.write_bytes(manifest.content())
    except OSError as error:
        raise ScreenError(f"{folder} cannot be written ({error.strerror}); give another --out") from error
