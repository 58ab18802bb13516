"""The face of a trial: a picture that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Self, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable


_REDRAW_EVERY_S = 0.25
_LINE_EVERY_S = 5.0

S = TypeVar("S")


class TrialScreen(ABC, Generic[S]):
    """Shows the states of a trial. Use as a context manager.

    Args:
        stream: Where to; rich leaves colours out where NO_COLOR is set or the stream is no terminal.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(file=stream)
        self._clock = clock
        moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False) if moves else None
        self._every_s = _REDRAW_EVERY_S if moves else _LINE_EVERY_S
        self._shown_at = -self._every_s

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """One plain line."""
        self._console.print(Text(sentence), soft_wrap=True)

    def show(self, state: S, *, final: bool = False) -> None:
        """Redraw the picture, or say a line, if the last one is some time old."""
        now = self._clock()
        if not final and now - self._shown_at < self._every_s:
            return
        self._shown_at = now
        if self._live is not None:
            self._live.update(self.picture(state), refresh=True)
        else:
            self.say(self.line(state))

    @abstractmethod
    def line(self, state: S) -> str:
        """A state as one line."""

    def picture(self, state: S) -> RenderableType:
        """A state as a terminal shows it."""
        return Text(self.line(state), no_wrap=True, overflow="ellipsis")
