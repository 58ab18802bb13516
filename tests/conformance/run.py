"""``make conformance``: each call site, its entry in the sheet, and whether they agree."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.sheet import load_sheet
from conformance.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.walk import Row

_WHAT = 84  # columns: the longest list of arguments is cut


def report(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the report."""
    table = [(row.place, textwrap.shorten(row.what, _WHAT, placeholder=" …"), row.entry) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row, cells in zip(rows, table, strict=True):
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), row.result])
    good = sum(row.agrees for row in rows)
    yield ""
    yield "Compared with a sheet of the documentation, over a stand-in made from it; nothing of TensorRT-LLM was run."
    yield f"conformance: {good} of {len(rows)} call sites agree with TensorRT-LLM {load_sheet().version}"


def main() -> int:
    """Print the report; 1 if a call site disagrees."""
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(walk(Path(folder)))
    for line in report(rows):
        print(line)
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
