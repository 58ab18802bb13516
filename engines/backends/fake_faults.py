"""Faults of the fake engine: switches, in a test or in a file beside a running worker, and the posts that meet them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a dataclass field that readers may introspect
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Sequence


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


TIMED_OUT = ItemFailure(FailureCode.TIMED_OUT, "no answer within the deadline of the call")


def text_of(tokenizer: TextTokenizer, prompt: Prompt) -> str:
    """The post and its context, with what stands between them."""
    return tokenizer.decode(prompt.token_ids[slice(*prompt.content)])


class Texts:
    """The posts of one call, decoded only if a fault with a marker asks."""

    def __init__(self, tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts

    def hit(self, fault: Fault | None, index: int) -> bool:
        """Say whether a fault is on and affects this post."""
        if fault is None or fault.marker is None:
            return fault is not None
        return fault.marker in text_of(self._tokenizer, self._prompts[index])

    def any_hit(self, fault: Fault | None) -> bool:
        """Say whether a fault is on and affects one of the posts."""
        return fault is not None and any(self.hit(fault, index) for index in range(len(self._prompts)))


_FAILURES = (
    ("hang", TIMED_OUT),
    ("error", ItemFailure(FailureCode.ENGINE_ERROR, "fault switched on: error")),
    ("cut", ItemFailure(FailureCode.ENGINE_ERROR, "fault switched on: cut")),
    ("garble", ItemFailure(FailureCode.UNPARSABLE, "fault switched on: garble")),
    ("empty", ItemFailure(FailureCode.EMPTY_COMPLETION, "fault switched on: empty")),
    ("labels_missing", ItemFailure(FailureCode.LABELS_MISSING, "fault switched on: labels_missing")),
)


def failure_of(faults: Faults, posts: Texts, index: int, *, scoring: bool) -> ItemFailure | None:
    """What goes wrong with one post; the first fault in this order, None if none affects it."""
    for name, failure in _FAILURES:
        if (scoring or name != "labels_missing") and posts.hit(getattr(faults, name), index):
            return failure
    return None
