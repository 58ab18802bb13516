"""Markup: foreign names in a Markdown page, shown and never obeyed. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table; every cell is plain. A column that begins with a number is set to the right."""
    rows = [[plain(cell) for cell in line] for line in (head, *lines)]
    first = rows[1] if len(rows) > 1 else head
    rows.insert(1, ["---:" if str(cell)[:1].isdigit() else "---" for cell in first])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
