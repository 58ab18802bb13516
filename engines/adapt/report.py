"""What reports share: tables and foreign names in Markdown, shown and never obeyed, and pictures as PNG files.

Loads matplotlib when it draws.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path


_CELL_CHARACTERS = 400
_ACTING = re.compile(r"([\\`*_\[\]#|~$@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""What emphasises, quotes, links, draws tables or mentions somebody."""


def plain(value: object) -> str:
    """A value as text on one line that no Markdown renderer takes for markup."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    kept = "".join(one if one.isprintable() else " " for one in text[: _CELL_CHARACTERS + 1])
    if len(kept) > _CELL_CHARACTERS:
        kept = kept[: _CELL_CHARACTERS - 1] + "…"
    named = kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ACTING.sub(r"\\\1", named)


def ruled(head: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    """A table of cells that are Markdown already.

    Args:
        head: One heading a column.
        lines: Cells by line.
        right: For each column, True to set it to the right.
    """
    rule = ["---:" if one else "---" for one in right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table; every cell is plain. A column that begins with a number is set to the right."""
    names, *rows = [[plain(cell) for cell in line] for line in (head, *lines)]
    first = rows[0] if rows else head
    return ruled(names, rows, [str(cell)[:1].isdigit() for cell in first])


def draw_picture(
    path: Path,
    drawn: Callable[[Any], None],
    *,
    inches: tuple[float, float] = (6.5, 5),
    dpi: int = 80,
    rows: int = 1,
) -> None:
    """Draw a file; it replaces an earlier one in one move. Equal figures give equal files.

    Args:
        path: The file.
        drawn: Draws on the axes that it is given.
        inches: Width and height.
        dpi: Dots an inch.
        rows: Axes, one below the other, with one scale to the right; of several it is given the array.

    Raises:
        OSError: The file cannot be written.
        ImportError: matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    figure = Figure(figsize=inches, layout="constrained", dpi=dpi)
    drawn(figure.subplots(rows, 1, sharex=True))
    with replacing(path) as stream:
        # Without the library's version in it.
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
