"""Output: files that appear together, or not at all."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.errors import PrepareError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

CARDS = ("data-card.json", "data-card.md")
CONFLICTS = "conflicts.jsonl"
"""Not data: a folder of results that is read again is read without it."""
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
