"""Labelled rows from files: every form that ``sluicegate adapt prepare`` takes, its own results among them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.data.row_files import RecordFile, SourceBook, input_files
from sluicegate.engines.adapt.data.row_reader import RowReader
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import EvaluationError, FaultyRow, RowFault
from sluicegate.schemas import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path


Stratum = tuple[str, str, str]


def stratum(row: Row) -> Stratum:
    """Language, severity and source of a row."""
    return row.language or "", row.severity, row.source


def draw(rows: Sequence[Row], count: int, *, seed: int, by: Callable[[Row], Hashable] = stratum) -> list[Row]:
    """A sample of rows in their own order, every stratum with its share of the whole.

    Shares are rounded by largest remainders, ties decided by the seed. Which rows of a stratum are taken is
    decided by their ids and the seed, never by their texts or their order.

    Args:
        rows: Ids differ.
        count: Rows wanted; all of them where there are no more.
        seed: Another seed, another sample.
        by: The stratum of a row.
    """
    if count >= len(rows):
        return list(rows)
    strata: dict[Hashable, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _lot(seed, row.id)):
        strata[by(row)].append(row)
    exact = {name: count * len(members) / len(rows) for name, members in strata.items()}
    taken = {name: int(share) for name, share in exact.items()}
    rest = sorted(strata, key=lambda name: (taken[name] - exact[name], _lot(seed, repr(name))))
    for name in rest[: count - sum(taken.values())]:
        taken[name] += 1
    chosen = {row.id for name, members in strata.items() for row in members[: taken[name]]}
    return [row for row in rows if row.id in chosen]


def _lot(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()


_MOST_ROWS = 500_000  # they are held in memory, texts included
_KEPT_FAULTS = 1000  # the rest is counted
_KEPT_REASONS = 10_000  # different ones; where each row has its own, they say nothing of one another


@dataclass(slots=True)
class Labelled:
    """What the files hold."""

    rows: list[Row] = field(default_factory=list)
    files: list[dict[str, str | int]] = field(default_factory=list)
    """Name, rows and SHA-256 of each."""
    faults: list[FaultyRow] = field(default_factory=list)
    """The first of them."""
    faulty_rows: int = 0
    other_split_rows: int = 0
    """Rows of another split than the wanted one, or of none."""
    splits: Counter[str] = field(default_factory=Counter)
    """Rows in order, by the split that they name; "none" where they name none."""
    repeated_rows: int = 0
    """Rows whose id stood on an earlier row: left out, the first one counts."""

    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    """Reasons that rows of any split have, with the categories of these rows, counted."""

    @property
    def licences(self) -> dict[str, int]:
        """Rows by licence, most first."""
        counts: dict[str, int] = {}
        for row in self.rows:
            name = row.licence or "not given"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def read_labelled(
    inputs: Sequence[Path], *, split: str | None = None, categories: Sequence[str] = CATEGORIES
) -> Labelled:
    """Read files and folders.

    Args:
        inputs: JSON lines, CSV, or folders of them.
        split: Take the rows of this split alone, whatever its name; None takes all.
        categories: Names that rows may have.

    Raises:
        PrepareError: A file cannot be read, or is of another form altogether.
        EvaluationError: Nothing is left, or there are too many rows.
    """
    found, seen, book = Labelled(), set[str](), SourceBook()
    reader = RowReader(extra_categories=[one for one in categories if one not in CATEGORIES])
    for path in input_files(inputs):
        file, before = RecordFile(path), len(found.rows)
        for record in file.records():
            content = record.content
            if isinstance(content, RowFault):
                row: Row | list[RowFault] = [content]
                own = None
            else:
                own, content = _split_of(content)
                row = reader.read(content, name=path.stem, line=record.line)
            if isinstance(row, list):
                found.faulty_rows += 1
                room = _KEPT_FAULTS - len(found.faults)
                found.faults += [FaultyRow(path.name, record.line, one) for one in row[: max(0, room)]]
                continue
            if row.reason is not None and (row.reason in found.reasons or len(found.reasons) < _KEPT_REASONS):
                found.reasons.setdefault(row.reason, Counter()).update(row.categories)
            found.splits[own or "none"] += 1
            if split is not None and own != split:
                found.other_split_rows += 1
            elif row.id in seen:
                found.repeated_rows += 1
            else:
                seen.add(row.id)
                found.rows.append(book.with_licence(row, path))
                if len(found.rows) > _MOST_ROWS:
                    raise EvaluationError(
                        f"{path}: more than {_MOST_ROWS:,} rows in all; name fewer files, or draw with --sample"
                    )
        found.files.append({"file": path.name, "rows": len(found.rows) - before, "sha256": file.sha256})
    if not found.rows:
        raise EvaluationError(_why_empty(inputs, found, split))
    return found


def _split_of(document: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The split that a row names, and the row without it where only an evaluation takes that name."""
    named = document.get("split")
    if not isinstance(named, str):
        return None, document
    own = named.strip().casefold()
    if own in ("train", "dev") or not own:
        return own or None, document
    return own, {name: value for name, value in document.items() if name != "split"}


def _why_empty(inputs: Sequence[Path], found: Labelled, split: str | None) -> str:
    """Which rows stood there and did not count, and what to do."""
    wanted = f" of the split {split}" if split else ""
    told = f"no row{wanted} is left in {', '.join(str(path) for path in inputs)}: "
    told += f"{found.faulty_rows:,} faulty, {found.other_split_rows:,} of another split or none"
    hints = [f"the first fault: {found.faults[0].sentence}"] if found.faults else []
    if split and found.other_split_rows:
        hints.append(
            f"name a file of that split, such as {split}.jsonl of `sluicegate adapt prepare`, one of those that are "
            f"there ({_named(found.splits)}), or leave out --split"
        )
    return "; ".join([told, *(hints or ["name a file with labelled rows"])])


def _named(splits: Counter[str]) -> str:
    return ", ".join(f"{ascii(name)[1:-1][:40]} ({count:,})" for name, count in splits.most_common(10))


def rows_digest(rows: Sequence[Row]) -> str:
    """``sha256:…`` over rows and labels, in whatever order: two evaluations with one digest judged the same."""
    hashed = hashlib.sha256()
    for line in sorted(row.model_dump_json(exclude_none=True) for row in rows):
        hashed.update(line.encode() + b"\n")
    return f"sha256:{hashed.hexdigest()}"
