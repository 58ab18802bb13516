"""A broker's files on its disk: takes the end of a log away, as a disk does that loses what was written last."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN = struct.Struct(">qi")  # first offset, and the length of what follows
_LAST_DELTA_AT = 23  # in a batch: how much higher its last offset is
_DELTA = struct.Struct(">i")


def cut_log(folder: Path, end: int) -> int:
    """Cut the log of a partition whose broker does not run, and say where it ends now.

    Batches stay whole, so the log may end a little below what was asked for.

    Args:
        folder: The partition's, with one segment.
        end: The offset that the next record is to get.
    """
    (segment,) = folder.glob("*.log")
    content = segment.read_bytes()
    place, reached = 0, int(segment.stem)
    while place < len(content):
        first, length = _BEGIN.unpack_from(content, place)
        last = first + _DELTA.unpack_from(content, place + _LAST_DELTA_AT)[0]
        if last >= end:
            break
        place += _BEGIN.size + length
        reached = last + 1
    with segment.open("r+b") as file:
        file.truncate(place)
    # The broker makes these again from the log.
    for left in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
        left.unlink()
    return reached
