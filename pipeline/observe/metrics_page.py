"""The table of metrics in docs/operations.md, made from the metrics themselves.

``python -m sluicegate.pipeline.observe.metrics_page`` writes it anew between its markers; a test compares it.
"""

from __future__ import annotations

import re
from pathlib import Path

from sluicegate.pipeline.observe.metrics import Metrics

DOCUMENT = Path("docs/operations.md")

_BEGIN, _END = "<!-- metrics: generated -->", "<!-- metrics: end -->"
_SUFFIXES = {"counter": "_total", "info": "_info"}  # what the client adds to a name when it exports it


def metrics_table() -> str:
    """Every metric: name as exported, type, labels and meaning, as a Markdown table."""
    # The registry lists samples, and a metric that nobody has counted yet has none that would tell its
    # labels: so the attributes of Metrics are the list.
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for collector in vars(Metrics()).values():
        if not hasattr(collector, "_labelnames"):
            continue
        kind, name, labels = collector._type, collector._name, collector._labelnames  # noqa: SLF001 - no public way
        exported = name + _SUFFIXES.get(kind, "")
        shown = ", ".join(f"`{label}`" for label in labels) or "-"
        rows.append(f"| `{exported}` | {kind} | {shown} | {collector._documentation} |")  # noqa: SLF001 - the same
    return "\n".join(rows)


def refreshed(document: str) -> str:
    """A document with its table of metrics as the code has it now."""
    block = f"{_BEGIN}\n{metrics_table()}\n{_END}"
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    return pattern.sub(block.replace("\\", r"\\"), document)


def main() -> None:
    """Write the table of the document in the current folder anew."""
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
