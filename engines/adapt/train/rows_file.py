"""Prepared rows from a folder: ``train.jsonl`` and ``dev.jsonl``, as ``sluicegate adapt prepare`` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from sluicegate.engines.adapt.rows import Row
from sluicegate.engines.adapt.train.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

_FIX = "prepare the data with sluicegate adapt prepare"


def read_rows(folder: Path) -> tuple[list[Row], list[Row]]:
    """Rows that train, and rows that only measure; the latter may be none.

    Raises:
        TrainingError: A file is missing, a line is no row, or a row stands on the wrong side.
    """
    train, dev = _read(folder / "train.jsonl", "train"), _read(folder / "dev.jsonl", "dev")
    if not train:
        raise TrainingError(f"{folder / 'train.jsonl'} has no rows; {_FIX}")
    both = {row.id for row in train} & {row.id for row in dev}
    if both:
        raise TrainingError(f"{folder}: {len(both)} ids stand in train.jsonl and in dev.jsonl; {_FIX}")
    return train, dev


def _read(path: Path, split: str) -> list[Row]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}); {_FIX}") from error
    return [_row(path, number, line, split) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: bytes, split: str) -> Row:
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"])) or "line"
        raise TrainingError(f"{path}:{number}: {field} is not as a row has it; {_FIX}") from None
    if row.split not in (None, split):
        raise TrainingError(f"{path}:{number}: a row of the split {row.split}; {_FIX}")
    return row
