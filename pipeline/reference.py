"""Tables of docs/operations.md that are made from the code: settings and metrics.

``python -m sluicegate.pipeline.reference`` writes them anew between their markers; a test
compares them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel

from sluicegate.pipeline.metrics import Metrics
from sluicegate.pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

DOCUMENT = Path("docs/operations.md")

# A number's unit is the end of its name.
_UNITS = {"_s": "seconds", "_ms": "milliseconds", "bytes": "bytes", "tokens": "tokens", "posts": "posts"}


def settings_table() -> str:
    """Every setting: name, unit, default and meaning, as a Markdown table."""
    rows = [
        f"| `{section}.{name}` | {_unit(name, field)} | {_default(field)} | {_cell(field.description or '')} |"
        for section, name, field in _settings()
    ]
    return "\n".join(["| setting | unit | default | meaning |", "|---|---|---|---|", *rows])


def metrics_table() -> str:
    """Every metric: name as exported, type, labels and meaning, as a Markdown table."""
    metrics = Metrics()
    # The registry's own list of collectors is private, and an unlabelled sample tells no label
    # names: the attributes of Metrics are the list.
    rows = []
    for collector in vars(metrics).values():
        if not hasattr(collector, "_labelnames"):
            continue
        kind, name = collector._type, collector._name  # noqa: SLF001 - the client has no public way to ask
        exported = {"counter": f"{name}_total", "info": f"{name}_info"}.get(kind, name)
        labels = ", ".join(f"`{label}`" for label in collector._labelnames) or "-"  # noqa: SLF001 - the same
        rows.append(f"| `{exported}` | {kind} | {labels} | {_cell(collector._documentation)} |")  # noqa: SLF001 - the same
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def refreshed(document: str) -> str:
    """A document with its generated tables as the code has them now."""
    for name, table in (("settings", settings_table()), ("metrics", metrics_table())):
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        block = f"{begin}\n{table}\n{end}"
        document = pattern.sub(lambda _found, block=block: block, document)
    return document


def _settings() -> Iterator[tuple[str, str, FieldInfo]]:
    for section, outer in Settings.model_fields.items():
        kind = outer.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield section, name, field


def _unit(name: str, field: FieldInfo) -> str:
    if field.annotation is str:
        return "-"
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "-")


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    return f"`{value if isinstance(value, str) else orjson.dumps(value, default=str).decode()}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the tables of the document in the current folder anew."""
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
