"""Sources: the input files, and what the manifest beside them says of licence and origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.data.output import CONFLICTS
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import PrepareError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


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
                one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES and one.name != CONFLICTS
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
