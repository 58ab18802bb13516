"""What every study ends with: options of a command, tables, figures as JSON and a page as Markdown."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.report import ruled
from sluicegate.engines.cpu_model.models import SMALL, CpuModel
from sluicegate.engines.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "benchmarks" / "reports"
SAMPLE = ROOT / "benchmarks" / "samples" / "dev-sample.jsonl"
"""Labelled rows that ship with the repository."""


def folder_of(model: CpuModel, folder: Path = REPORTS) -> Path:
    """Where what is of a CPU model stands in a folder: the default's own, and another's in a folder of its name."""
    return folder if model == SMALL else folder / model.name


def options(about: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with this text as it is written: a study's docstring."""
    return argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table.

    Args:
        head: One heading a column.
        rows: Cells by row, Markdown already.
        left: Columns that are set to the left; all others are set to the right.
    """
    right = [number >= left for number in range(len(head))]
    return ruled(head, [[str(cell) for cell in row] for row in rows], right)


def interval(found: Mapping[str, float | None] | None, sign: str = "") -> str:
    """A value with its interval where it has one; a dash where there is no value.

    Args:
        found: A measure as a report keeps it: value, low and high.
        sign: ``+`` for a difference, which is shown with its sign.
    """
    if found is None or found["value"] is None:
        return "–"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:{sign}.3f}"
    return f"{found['value']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"


def older(document: Mapping[str, Any]) -> list[str]:
    """A paragraph and a blank line on what changed since a report was made; nothing where it does not say so.

    A report that is made again says nothing: the field is added by hand to one that is kept.
    """
    since = document.get("older")
    return [f"**Not made again since: {since}**", ""] if since else []


def write(folder: Path, name: str, document: Any, page: str, *, indent: int = 1) -> None:
    """Write ``name.json`` and ``name.md`` into a folder, which is made where it is missing.

    Args:
        folder: For both files.
        name: Of the report.
        document: Its figures, for JSON.
        page: The report for people.
        indent: Blanks that JSON is indented with.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(document, indent=indent, ensure_ascii=False)
    replace_file(folder / f"{name}.json", f"{told}\n".encode())
    replace_file(folder / f"{name}.md", page.encode())
