"""``make conformance``: each call site and each body, what it was compared with, and whether they agree."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import wheels
from conformance.bodies import body_rows
from conformance.servers import SERVERS, own_files
from conformance.sheet import load_sheet
from conformance.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.walk import Row

_WHAT = 84  # columns: the longest list of arguments is cut


def report(sites: Sequence[Row], bodies: Sequence[Row], unchecked: str | None = None) -> Iterator[str]:
    """Lines of the report.

    Args:
        sites: Call sites, compared with the sheet.
        bodies: Requests, compared with the servers' own files.
        unchecked: Why those files are not here, if they are not.
    """
    rows = [*sites, *bodies]
    table = [(row.place, textwrap.shorten(row.what, _WHAT, placeholder=" …"), row.entry) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row, cells in zip(rows, table, strict=True):
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), row.result])
    good, taken = (sum(row.agrees for row in found) for found in (sites, bodies))
    servers = " and ".join(dict.fromkeys(server.name for server in SERVERS))
    yield ""
    yield "Executed: request and response classes, as they stand in the servers' wheels. No server and no model ran."
    yield "Read: a sheet of the documentation, over a stand-in made from it; nothing of TensorRT-LLM was run."
    if unchecked is not None:
        yield f"!!! NOT CHECKED: {len(bodies)} bodies against {servers}: {unchecked} !!!"
    executed = "NOT CHECKED" if unchecked is not None else "executed"
    yield (
        f"conformance: {taken} of {len(bodies)} bodies agree with {servers} ({executed}), "
        f"{good} of {len(sites)} call sites with TensorRT-LLM {load_sheet().version} (read)"
    )


def main() -> int:
    """Print the report; 1 if something disagrees, or could not be checked where that is required."""
    unchecked = None
    try:
        wheels.fetch()
    except wheels.WheelsMissingError as error:
        unchecked = str(error)
    with tempfile.TemporaryDirectory() as folder:
        sites = asyncio.run(walk(Path(folder)))
    bodies = body_rows(None if unchecked else own_files(), unchecked or "")
    for line in report(sites, bodies, unchecked):
        print(line)
    if unchecked:
        return int(any(os.environ.get(wish) for wish in ("CI", "REQUIRE_SERVERS")))
    return 0 if all(row.agrees for row in [*sites, *bodies]) else 1


if __name__ == "__main__":
    sys.exit(main())
