"""Lines of JSON, read whole or refused with the line that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")


def read_rows(path: Path, make: Callable[[Any, int], _T], *, is_no: str, see: str) -> list[_T]:
    """Read a file of JSON lines.

    Args:
        path: The file.
        make: Gives what a line's value and its number, from 1, stand for.
        is_no: What a line is not if that fails, such as "labelled post".
        see: Where its form is described.

    Raises:
        SystemExit: The file cannot be read, or a line is of another form; the message names both and the way out.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise SystemExit(
            f"{path}: cannot be read ({type(error).__name__}); give the stream with --data"
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(make(json.loads(line), number))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SystemExit(f"{path}:{number}: is no {is_no} ({type(error).__name__}); see {see}") from error
    return rows
