"""What an engine in this process has in its work, kept in a file that outlives the process.

An engine's native code may end the worker, which then cannot say what did it. So names of prompts are written before
each call and removed after it. A worker that starts takes over the files of those that are gone: a lock that ends
with its process says which. The kernel keeps what is written though the process is killed; a machine that
fails loses it, and with it no post.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.pipeline.flow.suspects import DeathTally, KnownPrompts

if TYPE_CHECKING:
    from collections.abc import Collection


_log = structlog.get_logger(__name__)

_MOST_BYTES = 4 << 20
_MOST_FILES = 64
_Name = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class Left(BaseModel):
    """What a process left when it ended."""

    model_config = ConfigDict(frozen=True)

    at_s: _Seconds
    """Unix time."""
    in_work: frozenset[_Name]
    tallies: dict[_Name, DeathTally]
    poison: dict[_Name, _Seconds]


def default_folder() -> Path:
    """A folder of this user's in the system's temporary folder.

    It is not looked for by writing, as Python's ``tempfile`` does: where no file may grow, a worker starts all the same.
    """
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"sluicegate-{os.getuid()}"  # noqa: S108 - of this user alone, see adopt


class InWorkFile:
    """One per worker. A folder that cannot be written costs the memory of crashes, and is told once.

    Args:
        folder: Made if it is missing, for this user alone. Workers may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._told = False

    def adopt(self) -> list[Left]:
        """Take over, and remove, the files of workers that are gone; then begin one of our own."""
        found: list[Left] = []
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{self._folder} belongs to somebody else")
            for path in sorted(self._folder.glob("*.in-work"))[:_MOST_FILES]:
                found += self._adopted(path)
            path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.in-work"
            early = path.with_suffix(".new")  # without its lock it would be taken for one that was left
            self._descriptor = os.open(early, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            early.rename(path)
        except OSError as error:
            self._cannot(error)
        return found

    def write(self, in_work: Collection[str], known: KnownPrompts) -> None:
        """Put this in place of what the file says."""
        if self._descriptor is None:
            return
        document: dict[str, Any] = {"at_s": time.time(), "in_work": sorted(in_work), **known}
        line = orjson.dumps(document, default=tuple, option=orjson.OPT_APPEND_NEWLINE)
        try:
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))  # killed before this, the first line still is whole
        except OSError as error:
            self._cannot(error)

    def _adopted(self, path: Path) -> list[Left]:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return []  # another worker that starts took it over, or it is nobody's file
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first = os.pread(descriptor, _MOST_BYTES, 0).partition(b"\n")[0]
            path.unlink()
        except OSError:
            return []  # its writer lives, or another worker takes it over just now
        finally:
            os.close(descriptor)
        try:
            left = Left.model_validate_json(first)
        except ValidationError:
            return []  # it never came to its first line, or is another's
        gone_s = max(0.0, time.time() - left.at_s)
        tallies = {key: tally._replace(until=tally.until - gone_s) for key, tally in left.tallies.items()}
        poison = {key: left_s - gone_s for key, left_s in left.poison.items()}
        return [left.model_copy(update={"tallies": tallies, "poison": poison})]

    def _cannot(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning("in_work_not_kept", folder=str(self._folder), why=error.strerror or str(error))
