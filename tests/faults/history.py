"""The history of a scenario: what was done and seen, in order, as JSON lines."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class History:
    """Appends to a file as things happen, from any thread. The first line should hold the seed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def note(self, what: str, **facts: Any) -> None:
        """Write down what happened, with the seconds since the history began."""
        with self._lock:
            at = round(time.monotonic() - self._began, 3)
            line = json.dumps({"at": at, "what": what, **facts}, ensure_ascii=False, default=str)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
