"""What the fake engine counts of its own work, and the file that tells it while the engine runs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EVERY_S = 0.05


@dataclass(slots=True)
class FakeCounts:
    """Sums since the engine was made. Tokens are those of a real vocabulary, by ``bytes_per_token``."""

    prompts: int = 0
    """Scored, or answered as a whole."""
    prompt_tokens: float = 0.0
    """Of those prompts."""
    cached_tokens: float = 0.0
    """Of those tokens, served by the prefix cache."""
    explained: int = 0
    """Prompts that were explained."""
    generated_tokens: float = 0.0
    """Of explanations and whole answers."""
    work_s: float = 0.0
    """Seconds for which the accelerator was booked."""
    saturated_s: float = 0.0
    """Seconds in which at least ``saturating_prompts`` prompts were in work."""
    deaths: int = 0
    """Times that a marked post met the fault ``die`` or ``kill``."""


class Counter:
    """Counts, and appends a line of JSON with the time and the sums to a file, twenty times a second at most.

    Args:
        saturating: Prompts in work that saturate the engine.
        path: The file; without one nothing is written.
    """

    def __init__(self, saturating: int, path: Path | None = None) -> None:
        self.counts = FakeCounts()
        self._saturating = saturating
        self._path = path
        self._in_work = 0
        self._since = time.monotonic()
        self._told = float("-inf")

    @contextmanager
    def work(self, prompts: int) -> Iterator[None]:
        """Count prompts as in work for the length of the block."""
        self._shift(prompts)
        try:
            yield
        finally:
            self._shift(-prompts)

    def died(self) -> None:
        """Count a death, and tell it at once: nothing may follow."""
        self.counts.deaths += 1
        self._tell(time.monotonic())

    def _shift(self, by: int) -> None:
        now = time.monotonic()
        if self._in_work >= self._saturating:
            self.counts.saturated_s += now - self._since
        self._since = now
        self._in_work += by
        if now - self._told >= _EVERY_S:
            self._tell(now)

    def _tell(self, now: float) -> None:
        if self._path is not None:
            self._told = now
            line = orjson.dumps({"at_s": time.time()} | asdict(self.counts), option=orjson.OPT_APPEND_NEWLINE)
            with self._path.open("ab") as file:
                file.write(line)
