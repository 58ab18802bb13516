"""Records of a file: JSON lines or CSV to documents with line numbers, one at a time, hashed on the way."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.errors import PrepareError, RowFault
from sluicegate.schemas import NO_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE_BYTES = 1_000_000
"""Longest line: Kafka's own default for a record, so that no post is longer."""

_CSV_NAMES = (".csv", ".tsv")
_JSON_FAULT = RowFault("", "no JSON object", "write one JSON object a line")
_LONG_FAULT = RowFault("", "longer than 1,000,000 bytes", "cut the text, or break the line")
_UTF8_FAULT = RowFault("", "not UTF-8", "save the file as UTF-8")
_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A document and the line it begins on, from 1; or why there is none."""

    line: int
    content: dict[str, Any] | RowFault


class RecordFile:
    """One input file. Iterate over :meth:`records` to the end, then ask for the digest.

    Args:
        path: A name that ends in ``.csv`` or ``.tsv`` is read as CSV, any other as JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of what was read, hexadecimal."""
        return self._hash.hexdigest()

    def records(self) -> Iterator[InputRecord]:
        """Every record, in the order of the file; blank lines are passed over.

        Raises:
            PrepareError: The file cannot be opened, or is of another form altogether.
        """
        self.bytes_read, self._hash = 0, hashlib.sha256()
        try:
            with self.path.open("rb") as stream:
                is_csv = self.path.suffix.lower() in _CSV_NAMES
                yield from self._csv(stream) if is_csv else self._json_lines(stream)
        except OSError as error:
            raise PrepareError(f"{self.path} cannot be read ({error.strerror}); check the name") from error

    def _lines(self, stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
        """Lines by number, without a byte order mark; None for one that is too long."""
        number = 0
        while line := stream.readline(LINE_BYTES + 1):
            number += 1
            self._count(line)
            whole = len(line) <= LINE_BYTES or line.endswith(b"\n")
            rest = line
            while not rest.endswith(b"\n") and (rest := stream.readline(LINE_BYTES)):
                self._count(rest)
            yield number, (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line) if whole else None

    def _count(self, data: bytes) -> None:
        self.bytes_read += len(data)
        self._hash.update(data)

    def _json_lines(self, stream: IO[bytes]) -> Iterator[InputRecord]:
        for number, line in self._lines(stream):
            if line is None:
                yield InputRecord(number, _LONG_FAULT)
            elif stripped := line.strip():
                if number == 1 and stripped.startswith(b"["):
                    raise PrepareError(
                        f"{self.path} is one JSON array; make it lines: jq -c '.[]' FILE.json > FILE.jsonl"
                    )
                yield InputRecord(number, _object(stripped))

    def _csv(self, stream: IO[bytes]) -> Iterator[InputRecord]:
        csv.field_size_limit(LINE_BYTES)
        # What is not UTF-8 becomes surrogates, which no valid text has: found cell by cell below.
        lines = (
            "" if line is None else line.decode("utf-8", "surrogateescape") for _, line in self._lines(stream)
        )
        first = next(lines, "")
        delimiter = max("\t;,", key=first.count)
        header = [name.strip().casefold() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if not ({"text", "severity"} <= set(header) or {"input", "output"} <= set(header)):
            raise PrepareError(
                f"{self.path}: the first line must name the columns, text and severity (or input and output) "
                "among them"
            )
        rows = csv.reader(lines, delimiter=delimiter)
        while True:
            line = rows.line_num + 2
            try:
                cells = next(rows, None)
            except csv.Error:
                yield InputRecord(line, RowFault("", "no row of CSV", "close every quote that was opened"))
                continue
            if cells is None:
                return
            if cells:
                yield InputRecord(line, _document(header, cells))


def _object(line: bytes) -> dict[str, Any] | RowFault:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _JSON_FAULT if _is_utf8(line) else _UTF8_FAULT
    return document if isinstance(document, dict) else _JSON_FAULT


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _document(header: list[str], cells: list[str]) -> dict[str, Any] | RowFault:
    if len(cells) > len(header):
        return RowFault("", "more cells than the header has columns", "quote texts that hold the separator")
    document: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        if any("\udc80" <= one <= "\udcff" for one in cell):
            return _UTF8_FAULT
        if cell.strip():
            document[name] = _value(name, cell)
    if "categories" in header:
        document.setdefault("categories", [])  # a cell cannot say "none", so an empty one does
    return document


def _value(name: str, cell: str) -> Any:
    """A cell as JSON would have it; what cannot be read stays text, and is found as a fault later."""
    if name in ("categories", "source_labels", "context") and cell.lstrip()[0] in "[{":
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
    if name == "categories":
        separator = next((one for one in ";|" if one in cell), ",")
        names = [part.strip() for part in cell.split(separator)]
        return [one for one in names if one and one != NO_CATEGORY]
    if name in ("refusal", "blind"):
        return _TRUE.get(cell.strip().casefold(), cell)
    return cell
