"""A screen that goes by words instead of a model, for flows; and a worker with it.

``python -m support.scripted_screen worker`` runs in place of ``sluicegate worker``; ``screen.path`` may name any
folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.screen.model import Screen, ScreenAnswer
from sluicegate.pipeline.command import main
from sluicegate.schemas import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.schemas import Post

DIGEST = "sha256:" + "5" * 64
ERROR = 0.004


class ScriptedScreen(Screen):
    """Sure that ``easy`` is safe and ``nasty`` unsafe; of everything else it says nothing."""

    def __init__(self, error: float = ERROR) -> None:
        self.digest = DIGEST
        self.error = error
        self.asked: list[str] = []
        self.fault: Exception | None = None

    def answers(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        self.asked += [post.id for post in posts]
        if self.fault is not None:
            raise self.fault
        return [self._said(post.text) for post in posts]

    def _said(self, text: str) -> ScreenAnswer | None:
        if "easy" in text:
            return ScreenAnswer(Scores(safe=0.98, controversial=0.01, unsafe=0.01), "safe", self.error)
        if "nasty" in text:
            return ScreenAnswer(Scores(safe=0.01, controversial=0.02, unsafe=0.97), "unsafe", self.error)
        return None


def load(_folder: Path) -> ScriptedScreen:
    """In place of the model's own."""
    return ScriptedScreen()


if __name__ == "__main__":
    Screen.load = staticmethod(load)  # type: ignore[method-assign, assignment] # it is a screen
    main()
