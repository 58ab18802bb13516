"""Switches that make the fake engine fail, in a test or from a file beside a running worker."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a dataclass field that readers may introspect
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class Fault(BaseModel):
    """One switched-on fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    marker: str | None = Field(default=None, min_length=1)
    """Only posts that contain this text are affected; None affects all."""

    def hits(self, text: str) -> bool:
        """Say whether a post with this text is affected."""
        return self.marker is None or self.marker in text


class SlowFault(Fault):
    """Every call with an affected post takes longer."""

    delay_s: float = Field(default=1.0, ge=0, allow_inf_nan=False)


def _switch(value: object) -> object:
    """Let ``true`` and ``false`` stand for a fault that affects all posts, and for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


_Switch = Annotated[Fault | None, BeforeValidator(_switch)]


class Faults(BaseModel):
    """The fake engine's faults. Assign at any time; the next call sees it.

    As JSON: ``{"hang": true, "error": {"marker": "poison"}, "slow": {"delay_s": 2.5}}``.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    slow: Annotated[SlowFault | None, BeforeValidator(_switch)] = None
    """The call takes ``delay_s`` longer."""
    hang: _Switch = None
    """No answer until the call's deadline: the item is timed out."""
    error: _Switch = None
    """The engine refuses the item."""
    cut: _Switch = None
    """The answer breaks off half way."""
    garble: _Switch = None
    """The engine answers with something unreadable."""
    empty: _Switch = None
    """The engine answers with nothing."""
    labels_missing: _Switch = None
    """Scoring only: none of the three labels is among the candidates."""
    miscount: _Switch = None
    """The whole call gives one answer too few."""
    die: _Switch = None
    """The whole call raises ``EngineUnavailable``; with a marker, a call that holds such a post."""

    kill: _Switch = None
    """The engine's native code ends the process that it runs in, with SIGKILL: the worker itself."""


class FaultsFile:
    """A JSON file of faults, read again whenever it changes.

    Where the file exists its faults replace the engine's own. A file that cannot be read as
    faults, such as one half written, changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._faults: Faults | None = None

    def read(self) -> Faults | None:
        """The file's faults; None without a file."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._faults = Faults.model_validate_json(self._path.read_bytes())
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._faults = None, None
        except (OSError, ValidationError):
            pass
        return self._faults
