"""Log of a training: one JSON object a line, kept in step with the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path

LOG = "log.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a log; a line cut off by a crash is passed over."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entries.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return entries


class Log:
    """Appends entries.

    Args:
        path: The file; made if need be.
        from_step: What a checkpoint has seen. Entries of later steps, which a crash undid, are dropped.
    """

    def __init__(self, path: Path, *, from_step: int) -> None:
        self._path = path
        kept = [entry for entry in read_log(path) if entry["step"] <= from_step]
        path.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in kept))

    def add(self, what: str, step: int, **facts: Any) -> None:
        """Append one entry."""
        with self._path.open("ab") as stream:
            stream.write(orjson.dumps({"what": what, "step": step, **facts}) + b"\n")
