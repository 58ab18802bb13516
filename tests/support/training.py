"""Rows and bases for tests of training: small, and with the words that must be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.train.base import END, OpenedBase
from sluicegate.engines.bundle.manifest import Label, LabelMap
from sluicegate.engines.layouts import CompactLayout
from support.small_bundle import control_tokens, small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.engines.layouts import Layout


def small_base(layout: Layout | None = None, folder: Path = Path("nowhere")) -> OpenedBase:
    """The small bundle's tokenizer and labels; no weights."""
    tokenizer = small_tokenizer()
    labels = (
        Label(text=text, token_ids=tuple(tokenizer.encode_static(text)))
        for text in (" Safe", " Controversial", " Unsafe")
    )
    return OpenedBase(
        "small", folder, None, tokenizer, layout or CompactLayout(), LabelMap(*labels), control_tokens()[END]
    )


def training_row(row_id: str, text: str, **changed: Any) -> Row:
    """A safe English post, or what is changed."""
    fields = {"kind": "post", "severity": "safe", "source": "made", "language": "en", **changed}
    return Row(id=row_id, text=text, **fields)


def labelled_rows(count: int, *, prefix: str = "r") -> list[Row]:
    """Rows whose text tells the label, in two languages, of different lengths."""
    severities = ("safe", "controversial", "unsafe")
    return [
        training_row(
            f"{prefix}{number}",
            f"number {number} is {severities[number % 3]}" + " and so on" * (number % 5),
            severity=severities[number % 3],
            categories=() if number % 3 == 0 else ("Violent",),
            language="en" if number % 2 else "de",
            source="one" if number % 4 else "two",
        )
        for number in range(count)
    ]


def write_rows(folder: Path, train: Iterable[Row], dev: Iterable[Row]) -> Path:
    """A folder as ``adapt prepare`` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("dev", dev)):
        lines = [orjson.dumps({**row.document(), "split": name}) + b"\n" for row in rows]
        (folder / f"{name}.jsonl").write_bytes(b"".join(lines))
    return folder
