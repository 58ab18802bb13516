"""Files of rows: those that are read, with what the manifest beside them says, and those that are written.

A read file's records are documents with line numbers, of JSON lines or CSV, one at a time, hashed on the way.
Written files appear together, or not at all.
"""

from __future__ import annotations

import csv
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import PrepareError, RowFault
from sluicegate.schemas import NO_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


CARDS = ("data-card.json", "data-card.md")
CONFLICTS = "conflicts.jsonl"
LEFT_OUT = "left-out.jsonl"
NO_DATA = (CONFLICTS, LEFT_OUT)
"""A folder of results that is read again is read without these."""
_ALWAYS = ("train.jsonl", "dev.jsonl")


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One file that was written."""

    rows: int
    bytes: int
    sha256: str


class LinesFile:
    """JSON lines on their way to a file, hashed."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self._stream = stream
        self._hash = hashlib.sha256()
        self._rows = 0
        self._bytes = 0

    @property
    def written(self) -> WrittenFile:
        """What was written so far."""
        return WrittenFile(self._rows, self._bytes, self._hash.hexdigest())

    @property
    def is_kept(self) -> bool:
        """False for a list that has nothing to say."""
        return self._rows > 0 or self.path.name in _ALWAYS

    def line(self, document: Mapping[str, Any]) -> None:
        """Write one object."""
        raw = orjson.dumps(document) + b"\n"
        self._stream.write(raw)
        self._hash.update(raw)
        self._rows += 1
        self._bytes += len(raw)


@contextmanager
def replaced_together(
    folder: Path, names: Sequence[str], *, overwrite: bool
) -> Iterator[dict[str, LinesFile]]:
    """Files to write lines to; they take their names when the block ends well, and go if it does not.

    Raises:
        PrepareError: The folder cannot be written to, or holds one of the files and ``overwrite`` is not set.
    """
    there = [name for name in (*names, *CARDS) if (folder / name).exists()]
    if there and not overwrite:
        raise PrepareError(f"{folder} holds {there[0]} already; give another folder, or --overwrite")
    partial = {name: folder / f"{name}.partial" for name in names}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        streams = {name: path.open("wb") for name, path in partial.items()}
    except OSError as error:
        raise PrepareError(
            f"{folder} cannot be written to ({error.strerror}); give another folder"
        ) from error
    files = {name: LinesFile(folder / name, stream) for name, stream in streams.items()}
    try:
        try:
            yield files
        finally:
            for stream in streams.values():
                stream.close()
        for name in there:
            (folder / name).unlink()  # a card or a list of another run would speak of these files
        for name, file in files.items():
            if file.is_kept:
                partial[name].replace(folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


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


MANIFEST = "manifest.json"
_MANIFEST_BYTES = 16 << 20
_SUFFIXES = (".jsonl", ".csv", ".tsv")
_TOLD = ("title", "repo", "url", "commit", "licence_note", "cite")


@dataclass(frozen=True, slots=True)
class DataSource:
    """What a manifest says of one source."""

    licence: str | None = None
    told: dict[str, str] = field(default_factory=dict)
    """Title, address, commit, citation: for the data card."""


def input_files(given: Sequence[Path]) -> list[Path]:
    """The files that are meant: a folder stands for its JSON lines and CSV files, by name.

    Raises:
        PrepareError: Something does not exist, a folder has no such file, or a file is named twice.
    """
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(
                one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES and one.name not in NO_DATA
            )
            if not inside:
                raise PrepareError(f"{path} holds no {', '.join(_SUFFIXES)} file; name the files themselves")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise PrepareError(f"{path} is no file and no folder; check the name")
    if len({path.resolve() for path in files}) < len(files):
        raise PrepareError("a file is named twice; name each once")
    return files


class SourceBook:
    """Licences and origins, from the ``manifest.json`` beside each file. A row's own licence counts first.

    The manifest holds ``{"sources": {NAME: {"licence": …, "title": …, "repo": …}}}``, and may hold
    ``{"files": [{"file": …, "sha256": …}]}``.
    """

    def __init__(self) -> None:
        self._read = cache(_manifest)

    def source(self, path: Path, name: str) -> DataSource:
        """What is known of a source of this file.

        Raises:
            PrepareError: The manifest cannot be read.
        """
        entry = self._read(path.parent / MANIFEST).get("sources", {}).get(name)
        if not isinstance(entry, dict):
            return DataSource()
        licence = entry.get("licence", entry.get("license"))
        told = {name: entry[name] for name in _TOLD if isinstance(entry.get(name), str)}
        return DataSource(licence if isinstance(licence, str) and licence else None, told)

    def sha256(self, path: Path) -> str | None:
        """The digest that the manifest promises for a file, if it does."""
        files = self._read(path.parent / MANIFEST).get("files", [])
        for entry in files if isinstance(files, list) else []:
            if isinstance(entry, dict) and entry.get("file") == path.name:
                return str(entry.get("sha256"))
        return None

    def with_licence(self, row: Row, path: Path) -> Row:
        """The row with the licence of its source, if it names none itself."""
        if row.licence is not None:
            return row
        licence = self.source(path, row.source).licence
        return row if licence is None else row.model_copy(update={"licence": licence})


def licence_name(licence: str) -> str:
    """A licence without a remark in brackets behind it."""
    return licence.partition(" (")[0].strip()


def is_licensed(row: Row, wanted: Iterable[str]) -> bool:
    """True if the row's licence is one of these; a row without one has none of them."""
    name = None if row.licence is None else licence_name(row.licence).casefold()
    return name in {one.casefold() for one in wanted}


def _manifest(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PrepareError(f"{path} cannot be read ({error.strerror}); check your rights") from error
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("sources", {}), dict):
        raise PrepareError(f'{path} is no manifest; write {{"sources": {{NAME: {{"licence": "MIT"}}}}}}')
    return document
