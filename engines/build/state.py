"""What of a build is done: for each stage the digest of all that went into it."""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.errors import BuildError
from sluicegate.engines.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = "state.json"
_BYTES = 1 << 20


class State:
    """The file of a work folder. A stage that is not in it did not end.

    Args:
        work: The folder.
    """

    def __init__(self, work: Path) -> None:
        self._path = work / _FILE
        self._done = _read(self._path)

    def is_done(self, stage: str, digest: str) -> bool:
        """Whether the stage ended with these inputs."""
        return self._done.get(stage) == digest

    def forget(self, stage: str) -> None:
        """Before a stage begins."""
        if self._done.pop(stage, None) is not None:
            self._write()

    def record(self, stage: str, digest: str) -> None:
        """After a stage ended."""
        self._done[stage] = digest
        self._write()

    def _write(self) -> None:
        replace_file(self._path, orjson.dumps(self._done, option=orjson.OPT_INDENT_2) + b"\n")


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as stream:
            document = orjson.loads(stream.read(_BYTES))
        return {str(stage): str(digest) for stage, digest in document.items()}
    except (OSError, orjson.JSONDecodeError, AttributeError) as error:
        raise BuildError(
            f"{path} cannot be read ({type(error).__name__}); remove the work folder and build again"
        ) from error


def digest_of(*parts: Any) -> str:
    """``sha256:…`` over plain values."""
    canonical = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Make sure that no other build is at work in the folder, which is made if it is missing.

    Raises:
        BuildError: There is one.
    """
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (work / "lock").open("wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildError(
                f"{work}: another build is at work there; wait for it, or give another --work"
            ) from error
        yield
