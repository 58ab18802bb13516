"""DVC: a snapshot without its texts, and the file that DVC knows it by.

DVC keeps every version for ever, so no text goes there, not even an encrypted one. What goes proves which rows there were.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import yaml

from sluicegate.engines.adapt.cycle.ledger import RowSnapshot, fact_lines
from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from pathlib import Path


def write_for_dvc(snapshot: RowSnapshot, folder: Path) -> Path:
    """Write a snapshot's rows and, beside them, what ``dvc add`` would write; the latter's path.

    The SHA-256 of the rows' file is the digest of the snapshot. An erasure changes neither file.

    Args:
        snapshot: What to write.
        folder: Where to; made where it is missing.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{snapshot.digest.removeprefix('sha256:')[:12]}.jsonl"
    hashed, size = hashlib.md5(usedforsecurity=False), 0  # DVC names its files so
    with replacing(path) as stream:
        for line in fact_lines(snapshot.rows, snapshot.parent):
            stream.write(line)
            hashed.update(line)
            size += len(line)
    out = {"md5": hashed.hexdigest(), "size": size, "hash": "md5", "path": path.name}
    document = {"outs": [out], "desc": f"snapshot {snapshot.digest}"}
    pointer = path.with_name(f"{path.name}.dvc")
    with replacing(pointer) as stream:
        stream.write(yaml.safe_dump(document, sort_keys=False).encode())
    return pointer
