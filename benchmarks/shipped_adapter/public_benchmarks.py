"""Hashes of public benchmarks' texts, so that training refuses their rows. No text of them is kept.

    python benchmarks/shipped_adapter/public_benchmarks.py HateCheck=FILE.csv:test_case XSTest=FILE.csv:prompt …

The files are those that the benchmarks' own repositories publish; the column holds the texts.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import sluicegate.engines
from sluicegate.engines.adapt.data.public_benchmarks import FILE, packed, text_hash
from sluicegate.engines.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUT = Path(sluicegate.engines.__path__[0]) / "assets" / "public_benchmarks" / FILE


def texts(path: Path, column: str) -> Iterator[str]:
    """The texts of a CSV or JSON-lines file."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream) if path.suffix == ".csv" else map(json.loads, stream)
        for row in rows:
            yield row[column]


def main(arguments: Sequence[str]) -> int:
    """Read the files and write the hashes."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for argument in arguments:
        name, _, place = argument.partition("=")
        path, _, column = place.rpartition(":")
        found[name] |= {one for one in map(text_hash, texts(Path(path), column)) if one is not None}
    if not found:
        raise SystemExit(f"name the files: {__doc__}")
    replace_file(OUT, packed(found))
    print(", ".join(f"{name} {len(hashes):,}" for name, hashes in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
