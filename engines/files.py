"""Files that are replaced in one move: a reader sees the earlier content or the whole new one, never a part."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a stream beside a file. The file is replaced when the block ends well, and stays as it was if not.

    Args:
        path: The file; its folder exists.
        durable: True if the content has to survive a power cut before the file takes its name.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one move.

    Args:
        path: The file; its folder exists.
        content: All of it.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as stream:
        stream.write(content)


@contextmanager
def only_one(lock: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a file that nobody else holds; the system lets go of it if the process dies.

    Args:
        lock: The file, which is made if it is not there. It stays.
        wait: True waits until nobody else holds it: for a lock that everybody holds shortly.

    Raises:
        BlockingIOError: Somebody holds it, and ``wait`` is False.
        OSError: It cannot be written to.
    """
    with lock.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
