"""A screen that goes by words instead of a small guard, for flows; and a worker with it.

``python -m support.scripted_screen worker`` runs in place of ``sluicegate worker``; ``screen.path`` may name any
folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.protocol import EngineInfo
from sluicegate.engines.screen import ScreenAnswer
from sluicegate.pipeline import worker
from sluicegate.pipeline.command import main
from sluicegate.schemas import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.engines.screen import Screener
    from sluicegate.pipeline.settings.sections import ScreenSettings
    from sluicegate.schemas import Post

DIGEST = "sha256:" + "5" * 64
ERROR = 0.004


class StandInScreen:
    """Has the stamp of an engine, and asks none."""

    calibrated = True
    away: str | None = None
    faults = 0

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.guard = EngineInfo(
            digest=digest,
            backend="screen",
            model="screen",
            layout_digest=digest,
            max_prompt_tokens=4096,
            saturating_prompts=64,
        )

    def answers(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        raise NotImplementedError

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        return self.answers(posts)


class ScriptedScreen(StandInScreen):
    """Sure that ``easy`` is safe and ``nasty`` unsafe; of everything else it says nothing."""

    def __init__(self, error: float = ERROR) -> None:
        super().__init__(DIGEST)
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


def workers_have(make: Callable[[], Screener]) -> None:
    """Let every worker of this process whose settings name a folder have this screen in place of a small guard."""

    def opened(settings: ScreenSettings, *_: object) -> Screener | None:
        return make() if settings.path is not None else None

    worker.open_screen = opened  # type: ignore[attr-defined, assignment] # it is a screen


if __name__ == "__main__":
    workers_have(ScriptedScreen)
    main()
