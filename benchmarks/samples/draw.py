"""Draw the sample of dev rows that `make evaluate` judges when it is given no data.

    python benchmarks/samples/draw.py FOLDER [--out benchmarks/samples/dev-sample.jsonl]

FOLDER holds labelled files and a manifest.json that names their licences. Which rows are taken follows from
their ids, languages, severities and sources alone: never from a text.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row

LICENCES = ("MIT", "Apache-2.0", "CC-BY-3.0", "CC-BY-4.0")
"""Whole names: a licence with a remark behind it is not certain, and its rows stay out."""
LEFT_OUT = ("constraint_covid",)
"""Its MIT licence is that of a task's participant who carries the data; the task gave them out for research."""
SEED = 5
CELL_ROWS = 31
"""Of each severity in a language that has all three."""
ONE_SIDED_ROWS = 6
"""Of each severity in any other language: its macro-F1 says little, so it must not weigh much."""


def sample(rows: Sequence[Row]) -> list[Row]:
    """Rows for the sample, sources spread in each cell as they are in the whole."""
    allowed = [row for row in rows if row.licence in LICENCES and row.source not in LEFT_OUT]
    cells: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in allowed:
        cells[row.language or "", row.severity].append(row)
    severities = Counter(language for language, _ in cells)
    chosen: list[Row] = []
    for (language, _), members in sorted(cells.items()):
        count = CELL_ROWS if severities[language] == 3 else ONE_SIDED_ROWS
        chosen += draw(members, count, seed=SEED, by=lambda row: row.source)
    return sorted(chosen, key=lambda row: row.id)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "dev-sample.jsonl")
    given = parser.parse_args(arguments)
    rows = sample(read_labelled([given.folder], split="dev").rows)
    given.out.write_bytes(b"".join(orjson.dumps(row.document()) + b"\n" for row in rows))
    print(f"{len(rows)} rows, {given.out.stat().st_size:,} bytes")
    for name, counted in (
        ("language and severity", Counter(f"{row.language} {row.severity}" for row in rows)),
        ("source and licence", Counter(f"{row.source} {row.licence}" for row in rows)),
    ):
        print(f"\n{name}")
        for key, count in sorted(counted.items()):
            print(f"  {key:36} {count:>4}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
